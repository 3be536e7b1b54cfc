"""Shipped weights on shipped turns give the numbers on record, without synthesis and without training."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from speechllm_bench import jobs, paths, preparation, runs, verification
from speechllm_bench.config import CorpusConfig, LoraConfig
from speechllm_bench.data import corpora, synthesis
from speechllm_bench.data.clips import Clips
from speechllm_bench.data.corpora import shipped
from speechllm_bench.errors import MissingInput, UserError

SIZES = {"train": 16, "validation": 4, "A-test": 6, "B-test": 4}
CORPUS = CorpusConfig(name="call_centre_neural", sizes=SIZES)


@pytest.fixture
def spoken(home):
    """Clips of every turn: noise, so that no neural voice is needed."""
    clips, rng = Clips(preparation.clips_folder()), np.random.default_rng(0)
    for utterances in corpora.utterances(CORPUS).values():
        for utterance in utterances:
            samples = (3000 * rng.standard_normal(rng.integers(8000, 24000))).astype(np.int16)
            clips.keep(utterance.transcript, utterance.voice, samples, 16000)
    return clips


@pytest.fixture
def trained(spoken, tiny_run, monkeypatch):
    """A trained run and its control on other audio, in mixed precision, recorded in profile `tiny`."""
    lora = LoraConfig(rank=2, alpha=8, dropout=0.0)
    config = tiny_run(corpus=CORPUS, lora=lora)
    stage = config.stages[0].model_copy(update={"train": ["adapter", "lora"]})
    config = config.model_copy(update={"stages": [stage], "precision": "mixed"})
    other = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"audio": "other"})})
    for one in (config, other):
        jobs.execute(one, "tiny", lambda phase, share: None)
    shipped.write(CORPUS, ["A-test", "B-test"], spoken, verification.turns_folder("tiny"))
    monkeypatch.setattr(verification, "_names", lambda profile: {})
    return config


@pytest.fixture
def elsewhere(trained, home, tmp_path_factory, monkeypatch):
    """Another machine: the records, the models and the turns, and nothing else."""
    fresh = tmp_path_factory.mktemp("elsewhere")
    for part in ("runs", "stages", "turns"):
        shutil.copytree(paths.results("tiny") / part, fresh / "results" / "tiny" / part)
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(fresh))
    monkeypatch.setattr(synthesis, "speak_all", None)
    return trained


def test_shipped_turns_are_the_samples_that_were_spoken(spoken, home):
    utterances = corpora.utterances(CORPUS)["A-test"]
    shipped.write(CORPUS, ["A-test"], spoken, home / "turns")
    assert shipped.shipped(CORPUS, home / "turns") == {"A-test": utterances}
    read = shipped.recording(home / "turns")
    for utterance, samples in synthesis.speak_all(utterances, 1, False, preparation.clips_folder()):
        assert np.array_equal(read(utterance), samples)


def test_numbers_land_on_a_machine_that_has_spoken_and_trained_nothing(elsewhere):
    found = verification.verify("tiny", tell=lambda said: None)
    assert len(found) == 2 and all(one.lands and one.n == 6 for one in found)
    assert {one.run for one in found} == {folder.name for folder in paths.results("tiny").glob("runs/*")}
    assert all(one.same_answers == one.n for one in found), "weights were rounded before the run read them"
    assert "2 of 2 numbers land inside the interval on record." in verification.told(found)


def test_the_trained_weights_are_stored_in_16_bits_and_damage_is_told(elsewhere):
    from safetensors.torch import load_file

    (file,) = paths.results("tiny").glob("stages/*/weights.safetensors")
    assert {weight.dtype for weight in load_file(file).values()} == {torch.float16}
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(UserError, match="bring it back with `git checkout`"):
        verification.verify("tiny", tell=lambda said: None)


def test_changed_turns_and_missing_models_are_told(elsewhere, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shipped, "texts_digest", lambda utterances: "other")
        with pytest.raises(UserError, match="holds other turns than the corpus call_centre_neural has today"):
            verification.verify("tiny", tell=lambda said: None)
    runs.remove(verification.turns_folder("tiny"))
    with pytest.raises(MissingInput, match="no test turns are shipped"):
        verification.verify("tiny", tell=lambda said: None)
    runs.remove(paths.results("tiny") / "stages")
    with pytest.raises(MissingInput, match="no trained stages are shipped"):
        verification.verify("tiny", tell=lambda said: None)
