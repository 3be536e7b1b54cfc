"""Odd turns from training to figures: nothing breaks, nothing is dropped, every number is one.

The turns: nothing said, a fifth of a second, 25 seconds, twenty slots at once, and values with characters
that JSON, LaTeX or HTML could stumble over. Tiny models of the real classes hear noise of each turn's length.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import toy_profile

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import store
from speechllm_bench.evaluation import score
from speechllm_bench.models import decoding, inputs
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.planning import places, studies
from speechllm_bench.planning.identity import run_digest
from speechllm_bench.reports import show
from speechllm_bench.reports import study as reports
from speechllm_bench.running import jobs, preparation
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.outputs import read_curve
from speechllm_bench.storage.schema import Prediction, SlotValue, Utterance
from speechllm_bench.tasks import slots
from speechllm_bench.training import loop

SPLITS = ("train", "validation", "A-test")
VALUES = (
    'the "big" one',
    "{curly} [square] <b>angle</b>",
    r"back\slash \n \u0041 \textbf{x}",
    "Zoë Čapek-Müller 北京 🎻",
    "100 % & $5_#~^",
    "it's: 'a', b \"",
)
TURNS = {  # name: transcript, values of its slots, seconds
    "empty": ("", [], 1.0),
    "short": ("yes", [], 0.2),
    "long": ("to oslo" + 60 * " and so on", ["oslo"], 25.0),
    "twenty": (" ".join(f"value{i}" for i in range(20)), [f"value{i}" for i in range(20)], 8.0),
    **{f"value {i}": (f"it is {value} then", [value], 2.0) for i, value in enumerate(VALUES)},
}
N_SLOTS = 1 + 20 + len(VALUES)
STUDY = """
study: odd
title: Odd turns
paper: none
question: Does anything break?
baseline: mlp
extremes: [mlp, text]
base:
  adapter: mlp
  lora: true
  stages:
    - {name: both, tasks: {transcription: 0.5, slots: 0.5}, train: [adapter, lora], budget: [slots]}
variants:
  mlp: {}
  cnn: {adapter: cnn}
  transformer: {adapter: transformer}
  chance: {stages: [], evaluation: {answerer: chance_copier}}
  text: {adapter: null, stages: [{name: text, tasks: {slots: 1.0}, train: [lora], budget: [slots]}]}
reported: []
claims:
  - {claim: none, source: none, better: transformer, worse: cnn}
"""


def utterance(split: str, name: str) -> Utterance:
    transcript, values, _ = TURNS[name]
    kinds = [t.name for t in corpora.slot_types("call_centre").values() if not t.ood]
    starts = [transcript.index(value) for value in values]
    filled = tuple(
        SlotValue(kind, value, value, start, start + len(value))
        for kind, value, start in zip(kinds, values, starts, strict=False)
    )
    speaker = f"speaker {len(transcript) % 3}" if transcript else "silent"  # drawn alone in the bootstrap
    return Utterance(
        f"{split}/{name}", split, name, 0, "travel", "", "", transcript, filled, (), "neutral", (), speaker,
        gold=("transcript", "slots"),
    )  # fmt: skip


def noise(utterances, n_workers, clips=None):
    """In the place of `speak_all`: espeak-ng can say neither nothing nor a word as long as is asked for."""
    for spoken in utterances:
        *_, seconds = TURNS[spoken.call_id]
        rng = np.random.default_rng(len(spoken.transcript))
        yield spoken, (0.1 * rng.standard_normal(int(seconds * 16_000))).astype(np.float32)


def execute(config) -> SimpleNamespace:
    folder = jobs.execute(config, "smoke", lambda phase, share: None)
    scored = runs.read_json(folder / "score.json")
    return SimpleNamespace(score=scored, metrics={k: v["value"] for k, v in scored["metrics"].items()})


def stored(folder) -> dict:
    return runs.read_json(folder / "stage.json")


def evaluated(run: studies.Run, **changes):
    return run.config.model_copy(update={"evaluation": run.config.evaluation.model_copy(update=changes)})


@pytest.fixture(scope="module")
def odd(tmp_path_factory, tiny_backbones):
    """The runs of a study of odd turns by variant, all of them done, in a home of their own."""
    home = tmp_path_factory.mktemp("odd")
    profile = toy_profile("smoke")
    profile["encoder"]["path"], profile["llm"] = (str(tiny_backbones / name) for name in ("whisper", "llm"))
    profile["budgets"]["slots"] = 3 * len(TURNS)
    profile["training"] |= {"validation_examples": len(TURNS), "decoded_turns": len(TURNS)}
    profile["decoding"]["batch_size"] = len(TURNS)  # 0.2 s beside 25 s
    runs.write_text(home / "experiments" / "odd.yaml", STUDY)
    runs.write_text(home / "experiments" / "profiles" / "smoke.yaml", yaml.safe_dump(profile))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHLLM_BENCH_HOME", str(home))
        patch.setattr(paths, "EXPERIMENTS", home / "experiments")
        spoken = {split: [utterance(split, name) for name in TURNS] for split in SPLITS}
        patch.setattr(corpora, "utterances", lambda corpus: spoken)
        patch.setattr(store, "speak_all", noise)
        patch.setattr(loop, "CHECKPOINT_SECONDS", -1)  # one a step
        planned = studies.plan(["odd"], "smoke").runs
        for run in planned:
            execute(run.config)
        yield {run.variant: run for run in planned}


def test_every_variant_trains_answers_and_scores_every_turn(odd):
    for row in studies.records("odd", "smoke"):
        assert row["status"] == "ok"
        said = show.predictions(row["run"])
        assert [p.transcript for p in said] == [transcript for transcript, *_ in TURNS.values()]
        assert row["score"]["n"] == len(TURNS)
        assert row["score"]["totals"]["partial_match"][2] == N_SLOTS
        for name, interval in row["score"]["metrics"].items():
            most = 16 if name == "tokens" else 1  # max_new_tokens; all others are shares
            assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= most
        if row["run"].stages:
            curve = read_curve(row["run"].folder / "curve.csv")
            assert np.isfinite(curve["value"]).all() and curve["examples"].max() == 3 * len(TURNS)


def test_twenty_slots_are_all_asked_for_and_their_answer_cut_short_is_a_failure_that_counts(odd):
    run = odd["mlp"]
    [twenty] = [p for p in show.predictions(run) if p.utterance_id.endswith("/twenty")]
    assert len(slots.parse(twenty.gold)) == 20 < len(twenty.asked)
    assert twenty.n_tokens == run.config.evaluation.max_new_tokens and slots.parse(twenty.raw) is None
    assert slots.error_kinds([twenty], slots.parse) == {"unparsable": 20}


def test_a_batch_of_0_2_and_25_seconds_is_answered_as_each_turn_alone(odd):
    together = odd["transformer"]
    alone = evaluated(together, batch_size=1)
    execute(alone)
    folders = [places.run_folder("smoke", digest) for digest in (together.digest, run_digest(alone))]
    first, second = ((folder / "predictions.jsonl.gz").read_bytes() for folder in folders)
    assert first == second


def test_a_training_stopped_on_the_way_goes_on_from_its_checkpoint(odd):
    """To the very weights of the training that was not stopped."""
    run = odd["mlp"]
    [stage] = (paths.results("smoke") / "stages" / digest for digest in run.stages)
    weights, steps = (stage / "weights.safetensors").read_bytes(), []

    def stop(phase: str, share: float) -> None:
        steps.append(share)
        if share > 0.4:
            raise KeyboardInterrupt

    runs.remove(stage)
    with pytest.raises(KeyboardInterrupt):
        jobs.execute(run.config, "smoke", stop)
    first = len(steps)
    jobs.execute(run.config, "smoke", lambda phase, share: steps.append(share))
    assert (stage / "weights.safetensors").read_bytes() == weights
    assert min(share for share in steps[first:] if share) > 0.3


@pytest.fixture
def perfect(monkeypatch):
    """A model that says what it is to say, through the tokenizer and the decoding of every other."""
    asked = []

    def collate(tokenizer, examples, **rest):
        if not rest["with_answer"]:
            asked[:] = [tokenizer(e.target)["input_ids"] + [tokenizer.eos_token_id] for e in examples]
        return inputs.collate(tokenizer, examples, **rest)

    def generate(self, batch, max_new_tokens, eos_token_id, pad_token_id, beams):
        longest = max(map(len, asked))
        return torch.tensor([ids + [pad_token_id] * (longest - len(ids)) for ids in asked])

    monkeypatch.setattr(decoding, "collate", collate)
    monkeypatch.setattr(SpeechLLM, "generate", generate)


def test_the_right_answers_score_as_right_whatever_characters_they_hold(odd, perfect, monkeypatch):
    monkeypatch.setattr(jobs, "trained_before", lambda folder, _: stored(folder))  # shows no curve
    found = execute(evaluated(odd["mlp"], max_new_tokens=999))
    assert found.metrics.pop("parse_failures") == 0 and found.metrics.pop("tokens") > 1
    assert set(found.metrics.values()) == {1}
    assert found.score["error_kinds"] == dict.fromkeys(slots.ERROR_KINDS, 0) | {"correct": N_SLOTS}
    words = execute(evaluated(odd["mlp"], max_new_tokens=999, task="transcription"))
    assert words.metrics == {"wer": 0, "cer": 0, "digit_error_rate": 0} and words.score["n"] == len(TURNS)


def test_words_said_to_silence_are_errors_and_the_rates_stay_finite(odd):
    found = execute(evaluated(odd["mlp"], task="transcription"))
    assert found.score["n"] == len(TURNS) and found.score["totals"]["words"][1] > 0
    assert all(math.isfinite(found.metrics[name]) and found.metrics[name] > 0 for name in ("wer", "cer"))
    silence = [Prediction("e", "u", "s", "transcription", "two words", "", (), 2, "")]
    assert score.score_task("transcription", silence)["totals"]["words"] == [2, 0]


def test_tables_figures_and_pages_are_drawn(odd):
    written = {path.name: path for path in reports.write("odd", "smoke")}
    figures = {f"odd_{figure}.{ending}" for figure in ("curves", "parameters") for ending in ("pdf", "png")}
    assert {"odd.csv", "odd.md", "odd.tex"} | figures <= set(written)
    table = pd.read_csv(written["odd.csv"])
    assert set(table["status"]) == {"ok"} and (table["n"] == len(TURNS)).all()
    assert table[["precision", "recall", "f1", "exact_f1", "slu_f1", "parse_failures"]].notna().all(axis=None)
    said = show.predictions(odd["chance"])
    assert len(show.answers(said)) == len(TURNS)
    page = "".join(show.answer("", p).data for p in said)
    assert "&lt;b&gt;angle" in page and "<b>" not in page
    corpus = preparation.ensure_corpus(odd["mlp"].config.corpus, 1)
    assert show.split_table(corpus).notna().all(axis=None)
    assert show.distributions(corpus, "A-test")
