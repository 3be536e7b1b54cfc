"""Whole runs that hear spoken instructions or are asked in other ways, on tiny backbones."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from speechllm_bench.data.corpora import spoken_instructions
from speechllm_bench.planning import identity
from speechllm_bench.running import jobs, preparation
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import sit, slots


def silent(phase: str, share: float) -> None:
    pass


def predictions(folder) -> list[Prediction]:
    with gzip.open(folder / "predictions.jsonl.gz", "rt", encoding="utf-8") as file:
        return [Prediction.from_json(json.loads(line)) for line in file]


def evaluated(config, **changes):
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update=changes)})


@pytest.fixture
def few_voices(monkeypatch):
    """Two voices a split speak one wording each, so that speaking takes a second."""
    monkeypatch.setattr(spoken_instructions, "VOICES", 2)
    few = {asks: texts[:1] for asks, texts in sit.WORDINGS.items()}
    monkeypatch.setattr(sit, "WORDINGS", few)
    said = [text for asks, texts in few.items() for text in texts if asks != "detail"]
    monkeypatch.setattr(spoken_instructions, "instruction_texts", lambda: said)
    spoken_instructions.recipe.cache_clear()
    yield
    spoken_instructions.recipe.cache_clear()


def test_instructions_are_spoken_once_and_only_for_runs_that_hear_them(
    few_voices, tiny_run, tiny_data, monkeypatch
):
    stage = tiny_run().stages[0].model_copy(update={"evaluations": 1, "decoded_turns": 0})
    plain = tiny_run().model_copy(update={"stages": [stage]})
    aloud = plain.model_copy(
        update={"stages": [stage.model_copy(update={"examples": 32, "beside": {"sqit": 8}})]}
    )
    folder = paths.cache() / "corpora" / f"instructions-{identity.extra_digest('instructions')}"
    runs.remove(folder)
    jobs.execute(plain, "aloud", silent)
    jobs.execute(evaluated(plain, task="sit"), "aloud", silent)
    assert not folder.exists()

    asked = evaluated(aloud, task="sqit")
    record = runs.read_json(jobs.execute(asked, "aloud", silent) / "run.json")
    assert record["status"] == "ok" and folder.is_dir()
    corpus = preparation.ensure_extra("instructions")
    frames = preparation.ensure_extra_frames(asked, "instructions")
    spoken = {u.id: (split, i) for split in corpus.splits for i, u in enumerate(corpus.utterances(split))}
    assert len(spoken) == 3 * 2 * 7
    for name, (split, i) in spoken.items():
        assert frames.n_frames(name) == -(-len(corpus.audio(split, i)) // 320)
        assert np.isfinite(frames[name]).all() and len(corpus.audio(split, i)) > 8000

    with monkeypatch.context() as patch:  # and not again
        patch.setattr("speechllm_bench.data.corpora.store.build_corpus", None)
        jobs.execute(evaluated(asked, audio="other"), "aloud", silent)
    stages = paths.results("aloud") / "stages"
    seen = [runs.read_json(file) for file in sorted(stages.glob("*/stage.json"))]
    assert sorted(one["examples"] for one in seen) == [24, 32]


@pytest.mark.parametrize("task", ["sit", "sqit"])
def test_answers_are_scored_by_what_was_asked(few_voices, tiny_run, tiny_data, task):
    folder = jobs.execute(evaluated(tiny_run(), task=task), "questions", silent)
    found, said = runs.read_json(folder / "score.json"), predictions(folder)
    assert len(said) == 8 and {p.asked[0] for p in said} == set(found["answers"])
    assert sum(one["n"] for one in found["answers"].values()) == found["n"] == 8
    right = sum(sit.parse(p.raw) == sit.parse(p.gold) for p in said)
    assert found["metrics"]["accuracy"]["value"] == right / 8
    assert "f1" not in found["metrics"]


def test_an_audio_llm_hears_spoken_instructions_through_its_own_tower(
    few_voices, tiny_run, tiny_data, tiny_backbones
):
    own = {"adapter": None, "audio_llm": str(tiny_backbones / "audio_llm"), "stages": []}
    asked = RunConfig.model_validate(evaluated(tiny_run(), task="sqit").model_dump() | own)
    folder = jobs.execute(asked, "questions", silent)
    assert runs.read_json(folder / "score.json")["n"] == 8
    frames, others = (preparation.ensure_extra_frames(run, "instructions") for run in (asked, tiny_run()))
    corpus = preparation.ensure_extra("instructions")
    for utterance in corpus.utterances("test"):
        assert frames.n_frames(utterance.id) == others.n_frames(utterance.id) // 2


def test_paraphrased_answers_are_scored_as_the_slots_they_stand_for(tiny_run, tiny_data, monkeypatch):
    """A model that says each wanted value under the slot's own name, which it was not asked by, is right."""
    from speechllm_bench.models import decoding

    names = slots.paraphrases(tiny_data.slot_types)

    def knowing(model, tokenizer, examples, utterances, **rest):
        pairs = zip(examples, utterances, strict=True)
        ends = [tokenizer.eos_token_id]
        said = [decoding.prediction(tokenizer, e, u, ends, ends) for e, u in pairs]
        return [replace(p, raw=slots.target(slots.parse(p.gold, names))) for p in said]

    monkeypatch.setattr(decoding, "decode", knowing)
    asked = evaluated(tiny_run(), wording="paraphrased")
    folder = jobs.execute(asked, "questions", silent)
    found = runs.read_json(folder / "score.json")
    assert found["totals"]["exact_match"][2] > 2 and found["metrics"]["exact_f1"]["value"] == 1
    assert found["error_kinds"]["correct"] == found["totals"]["exact_match"][2]
    assert all(p.raw != p.gold or p.gold == "{}" for p in predictions(folder))
    plain = runs.read_json(jobs.execute(tiny_run(), "questions", silent) / "score.json")
    assert plain["metrics"]["exact_f1"]["value"] == 1  # asked by name, said by name
