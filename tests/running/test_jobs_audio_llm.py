"""Runs of an audio LLM, on a tiny one of the real class: as it is, tuned, interrupted, told apart."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from speechllm_bench.data import corpora
from speechllm_bench.errors import MissingInput
from speechllm_bench.models import audio_llm
from speechllm_bench.planning import identity
from speechllm_bench.running import jobs, preparation
from speechllm_bench.settings.config import LoraConfig, RunConfig
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.training import loop

FILES = {"run.json", "curve.csv", "predictions.jsonl.gz", "score.json"}


def silent(phase: str, share: float) -> None:
    pass


def said(folder) -> list[str]:
    with gzip.open(folder / "predictions.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line)["raw"] for line in file]


@pytest.fixture(scope="module")
def name(tiny_backbones) -> str:
    return str(tiny_backbones / "audio_llm")


@pytest.fixture
def as_it_is(tiny_run, name) -> RunConfig:
    return tiny_run().model_copy(update={"stages": [], "adapter": None, "audio_llm": name})


@pytest.fixture
def tuned(tiny_run, as_it_is) -> RunConfig:
    stage = tiny_run().stages[0].model_copy(update={"train": ["lora"]})
    lora = LoraConfig(rank=2, alpha=8, dropout=0.0)
    return RunConfig.model_validate(
        as_it_is.model_copy(update={"lora": lora, "stages": [stage]}).model_dump()
    )


def evaluated(config, **changes):
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update=changes)})


def test_it_answers_as_it_is_and_hears_what_it_is_asked_about(as_it_is, name, tiny_data):
    folder = jobs.execute(as_it_is, "audio", silent)
    record = runs.read_json(folder / "run.json")
    assert {p.name for p in folder.iterdir()} == FILES
    assert record["status"] == "ok" and record["stages"] == [] and record["trained_parameters"] == 0
    assert record["speech_hours"] == 0 and record["pretraining_speech_hours"] is None
    assert len(said(folder)) == 8
    other = jobs.execute(evaluated(as_it_is, audio="other"), "audio", silent)
    assert said(other) != said(folder)
    assert record["total_parameters"] == identity.n_stored(name)  # tower, projector and language model
    assert 0 < record["adapter_parameters"] < record["llm_parameters"] < record["total_parameters"]


def test_one_that_was_not_pre_trained_learns_as_a_composite_does(tuned, tiny_run):
    first = tiny_run().stages[0].model_copy(update={"name": "first", "train": ["adapter"]})
    second = first.model_copy(update={"name": "second", "train": ["adapter", "lora"]})
    config = RunConfig.model_validate(tuned.model_copy(update={"stages": [first, second]}).model_dump())
    record = runs.read_json(jobs.execute(config, "audio", silent) / "run.json")
    assert record["status"] == "ok"
    stages = [paths.results("audio") / "stages" / s / "weights.safetensors" for s in record["stages"]]
    names = [set(load_file(file)) for file in stages]
    assert names[0] == {"adapter.linear.weight", "adapter.linear.bias"} and names[0] < names[1]
    assert record["trained_parameters"] == record["adapter_parameters"] + sum(
        p.numel() for name, p in load_file(stages[1]).items() if "lora_" in name
    )


def test_tuning_it_trains_lora_alone_on_the_composites_examples(tuned, as_it_is, tiny_data):
    folder = jobs.execute(tuned, "audio", silent)
    record = runs.read_json(folder / "run.json")
    assert record["status"] == "ok" and 0 < record["trained_parameters"] < record["llm_parameters"]
    weights = load_file(paths.results("audio") / "stages" / record["stages"][0] / "weights.safetensors")
    assert weights and all("lora_" in key for key in weights)
    assert record["total_parameters"] == record["trained_parameters"] + identity.n_stored(tuned.audio_llm)
    # Each turn once, at the tower's 25 frames a second and the encoder's 50.
    hours = sum(tiny_data.frames.n_frames(u.id) for u in tiny_data.train) / 50 / 3600
    assert record["speech_hours"] == pytest.approx(hours, abs=1e-3)
    _, *curve = (folder / "curve.csv").read_text().splitlines()
    assert {line.split(",")[4] for line in curve if ",validation," in line} == {"loss", "f1", "f1_v2"}
    assert jobs.execute(as_it_is, "audio", silent) != folder


def test_what_its_own_training_heard_is_on_the_record(as_it_is, name, tmp_path, tiny_data):
    folder = shutil.copytree(name, tmp_path / "known")
    sealed.write(folder / "training.json", {"speech_hours": 150.5, "text_tokens": 7_000_000})
    known = as_it_is.model_copy(update={"audio_llm": str(folder)})
    record = runs.read_json(jobs.execute(known, "known", silent) / "run.json")
    assert record["pretraining_speech_hours"] == 150.5 and record["pretraining_text_tokens"] == 7_000_000


def test_a_killed_tuning_goes_on_and_ends_with_the_same_weights(tuned, monkeypatch, tiny_data):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    whole, steps = runs.read_json(jobs.execute(tuned, "whole", silent) / "run.json"), []

    def killed(phase, share):
        steps.append(phase)
        if steps.count("train") == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.execute(tuned, "resumed", killed)
    steps.clear()
    jobs.execute(tuned, "resumed", lambda phase, share: steps.append(phase))
    assert steps.count("train") == 6 - 3  # the step under way is done again
    stage = whole["stages"][0]
    first, second = (
        (paths.results(profile) / "stages" / stage / "weights.safetensors").read_bytes()
        for profile in ("whole", "resumed")
    )
    assert first == second


def test_its_frames_are_computed_once_and_not_whispers(as_it_is, tiny_run, tiny_data, monkeypatch):
    corpus = preparation.ensure_corpus(as_it_is.corpus, 1)
    frames = preparation.ensure_frames(as_it_is, corpus)
    monkeypatch.setattr(audio_llm, "encode", lambda *_: pytest.fail("encoded again"))
    assert preparation.ensure_frames(as_it_is, corpus).folder == frames.folder
    assert frames.folder != preparation.frames_folder(tiny_run())
    for utterance in tiny_data.train:
        assert frames.n_frames(utterance.id) == tiny_data.frames.n_frames(utterance.id) // 2


def test_another_language_model_behind_the_same_tower_has_the_same_frames(as_it_is, name, tmp_path):
    def changed(part: str) -> RunConfig:
        """The same folder, but for one tensor."""
        folder = tmp_path / part
        shutil.copytree(name, folder)
        weights = load_file(folder / "model.safetensors")
        tensor = next(key for key in weights if part in key)
        weights[tensor] += 1
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return as_it_is.model_copy(update={"audio_llm": str(folder)})

    digests = [identity.frames_digest(c) for c in (as_it_is, changed("language_model"), changed("conv1"))]
    assert digests[0] == digests[1] != digests[2]
    assert identity.run_digest(changed("lm_head")) != identity.run_digest(as_it_is)


def test_it_is_told_apart_by_its_own_folder_and_by_nothing_that_it_does_not_use(tuned, tiny_run):
    before = identity.run_digest(tuned), identity.stage_digest(tuned, 0), identity.frames_digest(tuned)
    other = tuned.model_copy(
        update={"llm": "zoo/llm-mini", "encoder": tuned.encoder.model_copy(update={"path": "nowhere"})}
    )
    assert before == (
        identity.run_digest(other),
        identity.stage_digest(other, 0),
        identity.frames_digest(other),
    )
    composite = tiny_run()
    assert before[0] != identity.run_digest(composite.model_copy(update={"stages": tuned.stages}))


def test_a_config_without_one_keeps_the_digest_that_it_had(tiny_run):
    """As it was made before there was such a setting."""
    config = tiny_run()
    recipe = corpora.recipe("call_centre")
    surroundings = (
        identity.backbone_hash(config.encoder.path),
        identity.backbone_hash(config.llm),
        recipe,
        runs.NUMERICS_VERSION,
    )
    plain = config.as_stored(exclude={"audio_llm"}, exclude_none=True)
    plain["adapter"] = identity.UNUSED_SIZES | plain["adapter"]  # all kinds of adapter were one class then
    assert identity.run_digest(config) == runs.digest("run", plain, *surroundings)
    plain.pop("evaluation")
    assert identity.stage_digest(config, 0) == runs.digest("stage", plain, *surroundings)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"adapter": {"kind": "mlp", "width": 8, "layers": 1}}, "an audio LLM brings its own adapter"),
        ({"text": "asr"}, "text: asr is what a text LLM reads"),
    ],
)
def test_conflicts_are_refused(tuned, changes, told):
    whole = tuned.model_dump()
    if "adapter" in changes:
        whole |= changes
    else:
        whole["stages"][0] |= changes
    with pytest.raises(ValueError, match=told):
        RunConfig.model_validate(whole)


def test_without_its_folder_the_remedy_is_told(tuned):
    missing = tuned.model_copy(update={"audio_llm": "zoo/audio-llm-maxi"})
    with pytest.raises(MissingInput, match="train it with `speechllm-bench zoo train audio-llm-maxi`"):
        identity.run_digest(missing)
