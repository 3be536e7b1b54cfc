"""Shipped weights on shipped turns give the numbers on record, without synthesis and without training."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from stored_runs import store

from speechllm_bench import cli
from speechllm_bench.commands import verification
from speechllm_bench.data import corpora, synthesis
from speechllm_bench.data.clips import Clips
from speechllm_bench.data.corpora import shipped
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.planning import identity, studies
from speechllm_bench.running import jobs, preparation, runner
from speechllm_bench.settings.config import CorpusConfig, LoraConfig
from speechllm_bench.storage import numbers, paths, runs, sealed
from speechllm_bench.storage.status import Status

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
    """A trained run, its control on other audio and its run on B-test, in mixed precision, of `tiny`."""
    lora = LoraConfig(rank=2, alpha=8, dropout=0.0)
    config = tiny_run(corpus=CORPUS, lora=lora)
    stage = config.stages[0].model_copy(update={"train": ["adapter", "lora"]})
    config = config.model_copy(update={"stages": [stage], "precision": "mixed"})
    evaluated = ({}, {"audio": "other"}, {"split": "B-test"})
    for changed in evaluated:
        one = config.model_copy(update={"evaluation": config.evaluation.model_copy(update=changed)})
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
    assert shipped.shipped_utterances(CORPUS, home / "turns") == {"A-test": utterances}
    read = shipped.recording(home / "turns")
    for utterance, samples in synthesis.speak_all(utterances, 1, False, preparation.clips_folder()):
        assert np.array_equal(read(utterance), samples)


def test_numbers_land_on_a_machine_that_has_spoken_and_trained_nothing(elsewhere):
    said: list[str] = []
    found = verification.verify("tiny", tell=said.append)
    assert [line for line in said if line.startswith("  ")] == [f"  {one}" for one in found]
    assert all(str(one).endswith(f"on record: {one.verdict}") for one in found)
    assert all(one.lands for one in found)
    assert [(one.split, one.n) for one in found] == [("A-test", 6), ("A-test", 6), ("B-test", 4)]
    begun = [line for line in said if line not in {f"  {one}" for one in found}]
    assert begun == [f"{k} of 3: {one.run} on {one.split} ..." for k, one in enumerate(found, 1)]
    assert {one.run for one in found} == {folder.name for folder in paths.results("tiny").glob("runs/*")}
    assert all(one.same_answers == one.n for one in found), "weights were rounded before the run read them"
    assert "3 of 3 numbers land inside the interval on record." in verification.told(found)


def test_the_trained_weights_are_stored_in_16_bits_and_damage_is_told(elsewhere):
    from safetensors.torch import load_file

    (file,) = paths.results("tiny").glob("stages/*/weights.safetensors")
    assert {weight.dtype for weight in load_file(file).values()} == {torch.float16}
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(UserError, match="bring it back with `git checkout`"):
        verification.verify("tiny", tell=lambda said: None)


def test_shipped_weights_answer_again_into_another_home(elsewhere, tmp_path):
    digest, stage = identity.run_digest(elsewhere), identity.stage_digest(elsewhere, 0)
    run = studies.Run("study", "variant", 0, "tiny", elsewhere, digest, (stage,), Status.DONE)
    floor = studies.Run("study", "floor", 0, "tiny", elsewhere, "0" * 16, (), Status.DONE)
    said, other = [], tmp_path / "other"
    assert verification._answer_again([run, floor], other, said.append) == 1
    assert said == ["study variant seed 0 on A-test ..."]
    (again,) = other.rglob("run.json")
    assert again.relative_to(other) == (run.folder / "run.json").relative_to(paths.home())
    record = sealed.read(again)  # of the new files
    assert record["config"] == elsewhere.as_stored() and record["device_kind"] == "cpu"
    assert runs.read_json(again.with_name("score.json"))["n"] == 6


@pytest.fixture
def made_again(stored, monkeypatch):
    """Runs are made again with as many right answers as on record, or as the dictionary says."""
    right, homes = {"cnn": (5, 7), "mlp": (12, 13)}, []

    def run_missing(plan, jobs):
        homes.append(paths.home())
        for run in plan.missing:
            store(run.variant, run.seed, right[run.variant][run.seed])
        return runner.Outcome(tuple(plan.missing), (), 1.0)

    monkeypatch.setattr(runner, "run_missing", run_missing)
    return right, homes


def test_a_number_is_verified_from_runs_made_again(made_again, stored, capsys):
    right, homes = made_again
    before = {file: file.read_bytes() for file in stored.rglob("results/**/*") if file.is_file()}
    for id, trained in (("cnn/A/f1", 2), ("mlp-cnn/A/difference", 4), ("cnn/A/difference", 4)):
        number = numbers.find(f"mini/adapter_size/{id}")
        found = verification.verify_number(number)
        assert (found.again, found.answered, found.trained) == (number.cell, 0, trained)
    id = "mini/adapter_size/cnn/A/f1"
    shown = numbers.find(id).cell.shown
    assert cli.main(["verify", id]) == 0
    assert capsys.readouterr().out == f"{id} = {shown} on record, {shown} here (2 runs made again): lands.\n"
    right["cnn"] = (19, 19)
    assert cli.main(["verify", id]) == 1 and capsys.readouterr().out.endswith(": DOES NOT LAND.\n")
    assert stored not in homes and not any(home.exists() for home in homes)
    assert paths.home() == stored
    assert {f: f.read_bytes() for f in stored.rglob("results/**/*") if f.is_file()} == before


def test_what_cannot_be_verified_is_told(made_again, stored, monkeypatch, capsys):
    monkeypatch.setattr(runner, "run_missing", lambda plan, jobs: runner.Outcome((), ({"run": "x"},), 1.0))
    for id, told in {
        "mlp-cnn/A/p": "has no interval to compare with",
        "cnn/A/f1": "cannot be verified: not all of its runs could be made again",
    }.items():
        assert cli.main(["verify", f"mini/adapter_size/{id}"]) == 2
        assert told in capsys.readouterr().err
    runs.remove(studies.run("adapter_size", "cnn", 0, "mini").folder)
    profile = stored / "experiments" / "profiles" / "mini.yaml"
    profile.write_text(profile.read_text().replace("lr: 0.001", "lr: 0.005"))
    assert cli.main(["verify", "mini/adapter_size/cnn/A/f1"]) == 2
    assert "mini/adapter_size/cnn/A/f1 is stale (" in capsys.readouterr().err


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
