"""Shipped weights on shipped turns give the numbers on record, without synthesis and without training."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from stored_runs import store

from speechllm_bench import cli
from speechllm_bench.commands import answering_again, verification, verification_of_number
from speechllm_bench.data import corpora, synthesis
from speechllm_bench.data.clips import Clips
from speechllm_bench.data.corpora import shipped
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.evaluation import score
from speechllm_bench.evaluation.sample import TURNS, sampled
from speechllm_bench.models import decoding
from speechllm_bench.planning import identity, studies
from speechllm_bench.running import jobs, preparation, runner
from speechllm_bench.settings.config import CorpusConfig, LoraConfig
from speechllm_bench.storage import numbers, paths, runs, sealed
from speechllm_bench.storage.outputs import read_predictions
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
    shipped.write(CORPUS, ["A-test", "B-test"], spoken, answering_again.turns_folder("tiny"))
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
    found = verification.verify("tiny", None, tell=said.append)
    assert said[0].startswith("3 runs answer 6 turns of A-test, 4 turns of B-test again, 16 answers in all.")
    begun = [f"{k} of 3: {one.run} on {one.split} ..." for k, one in enumerate(found, 1)]
    assert said[1::3] == begun and said[2::3] == [f"  {one}." for one in found]
    assert all(line.endswith(" to go.") for line in said[3::3]) and len(said) == 9
    assert all(one.lands and str(one).endswith(": lands") for one in found)
    assert [(one.split, one.n) for one in found] == [("A-test", 6), ("A-test", 6), ("B-test", 4)]
    assert {one.run for one in found} == {folder.name for folder in paths.results("tiny").glob("runs/*")}
    assert all(one.same_answers == one.n for one in found), "weights were rounded before the run read them"
    assert all(one.same == one.whole for one in found)
    closing = "3 of 3 numbers land inside the intervals on record. 16 of 16 answers (100%) are the same."
    assert closing in verification.told(found)


@pytest.fixture
def answered(monkeypatch):
    """Ids of the turns that each run was asked about, in order."""
    asked, score_task = [], score.score_task

    def spy(task, predictions, parse=None):
        asked.append(frozenset(one.utterance_id for one in predictions))
        return score_task(task, predictions, parse)

    monkeypatch.setattr(score, "score_task", spy)
    return asked


def test_every_run_answers_the_same_sample_and_only_what_it_hears_is_encoded(elsewhere, answered):
    found = verification.verify("tiny", 3, tell=lambda said: None)
    turns = corpora.utterances(CORPUS)
    a, b = (sampled(turns[split], 3) for split in ("A-test", "B-test"))
    assert answered == [a, a, a, a, b, b]  # the new answers, then the stored ones of the same turns
    assert all(one.n == 3 and one.lands for one in found)
    # The control with the wrong audio hears the turns that it heard when it was recorded.
    assert all(one.same_answers == 3 for one in found)
    ids = [turn.id for turn in turns["A-test"]]
    other = dict(zip(ids, ids[3:] + ids[:3], strict=True))
    stores = [runs.read_json(file)["n_frames"] for file in paths.cache().glob("frames/*/index.json")]
    assert sorted(map(sorted, stores)) == sorted([sorted(a | {other[id] for id in a}), sorted(b)])


def test_a_sample_is_compared_with_the_stored_answers_to_its_turns(elsewhere):
    for folder in paths.results("tiny").glob("runs/*"):
        said = read_predictions(folder / verification.PREDICTIONS, "")
        said = [replace(one, raw=one.gold) if i % 2 else one for i, one in enumerate(said)]
        with gzip.open(folder / verification.PREDICTIONS, "wt") as lines:
            lines.writelines(json.dumps(one.to_json()) + "\n" for one in said)
        runs.write_json(folder / "score.json", score.score_task("slots", said))
        sealed.write(folder / "run.json", sealed.read(folder / "run.json", files=False))
    for one in verification.verify("tiny", 3, tell=lambda said: None):
        folder = paths.results("tiny") / "runs" / one.run
        ids = sampled(corpora.utterances(CORPUS)[one.split], 3)
        said = [p for p in read_predictions(folder / verification.PREDICTIONS, "") if p.utterance_id in ids]
        same = score.score_task("slots", said)["metrics"]["f1_v2"]
        whole = runs.read_json(folder / "score.json")["metrics"]["f1_v2"]
        assert one.same == verification._on_record(same) and one.whole == verification._on_record(whole)
        assert one.whole != one.same and one.whole.value > 0


def test_changed_answers_are_counted_and_a_number_outside_does_not_land(elsewhere, monkeypatch):
    right, changed = decoding.prediction, []

    def answer(tokenizer, example, utterance, ids, ends):
        said = right(tokenizer, example, utterance, ids, ends)
        return replace(said, raw=example.target) if utterance.id in changed else said

    monkeypatch.setattr(decoding, "prediction", answer)
    turns = corpora.utterances(CORPUS)
    (one, *others) = sampled(turns["A-test"], 3)
    changed.append(one)
    found = verification.verify("tiny", 3, tell=lambda said: None)
    assert [v.same_answers for v in found] == [2, 2, 3]
    assert "7 of 9 answers (78%) are the same." in verification.told(found)
    changed += others
    found = verification.verify("tiny", 3, tell=lambda said: None)
    assert [v.lands for v in found] == [False, False, True]
    assert "1 of 3 numbers land" in verification.told(found)


@pytest.mark.parametrize(
    ("again", "lands"),
    [(0.6, True), (0.5, True), (0.7, True), (0.71, False), (0.45, False), (0.35, False)],
)
def test_a_difference_may_not_leave_the_interval_of_the_whole_test_set(again, lands):
    whole, same = verification.OnRecord(0.5, 0.4, 0.6), verification.OnRecord(0.6, 0.4, 0.8)
    one = verification.Verified("run", "mlp", "A-test", "f1", whole, same, again, 75, 75)
    assert one.lands is lands
    narrow = replace(one, same=verification.OnRecord(0.6, 0.55, 0.65))
    assert narrow.lands is (again == 0.6)


def test_all_turns_are_answered_as_the_record_says(elsewhere, monkeypatch):
    sizes, evaluate = [], answering_again.evaluate

    def spy(config, *rest):
        sizes.append((config.evaluation.batch_size, rest[-1]))
        return evaluate(config, *rest)

    monkeypatch.setattr(answering_again, "evaluate", spy)
    monkeypatch.setattr(answering_again, "BATCH", 1)
    assert all(one.lands for one in verification.verify("tiny", None, tell=lambda said: None))
    assert sizes == [(elsewhere.evaluation.batch_size, None)] * 3
    del sizes[:]
    verification.verify("tiny", 5, tell=lambda said: None)
    assert [(size, only and len(only)) for size, only in sizes] == [(1, 5), (1, 5), (4, None)]


def test_the_command_takes_a_sample_a_number_of_turns_or_all(suite, monkeypatch, capsys):
    on_record, asked = verification.OnRecord(0.5, 0.4, 0.6), []

    def verify(profile, turns, threads):
        asked.append((profile, turns, threads))
        number = 0.5 if turns else 0.7
        return [verification.Verified("r", "mlp", "A-test", "f1", on_record, on_record, number, 9, 9)]

    monkeypatch.setattr(verification, "verify", verify)
    given = ([], ["--turns", "9"], ["--turns", "all"])
    codes = [cli.main(["verify", "--profile", "mini", "--threads", "2", *more]) for more in given]
    assert codes == [0, 0, 1]
    assert asked == [("mini", TURNS, 2), ("mini", 9, 2), ("mini", None, 2)]
    for options, told in {
        "--turns 0": "'0' is not a whole number from 1 to",
        "--turns most": "'most' is not a whole number from 1 to 1000000, nor 'all'",
        "mini/adapter_size/cnn/A/f1 --turns 9": "--turns is for --profile",
    }.items():
        assert cli.main(["verify", *options.split()]) == 2
        assert told in capsys.readouterr().err


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
    assert verification_of_number._answer_again([run, floor], other, said.append) == 1
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
        found = verification_of_number.verify_number(number)
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
    runs.remove(answering_again.turns_folder("tiny"))
    with pytest.raises(MissingInput, match="no test turns are shipped"):
        verification.verify("tiny", tell=lambda said: None)
    runs.remove(paths.results("tiny") / "stages")
    with pytest.raises(MissingInput, match="no trained stages are shipped"):
        verification.verify("tiny", tell=lambda said: None)
