"""The runner on stand-in processes: each writes its status, then does what the test asks of it."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from stand_ins import WELL, events, prepare, run, stand_in

from speechllm_bench import cli
from speechllm_bench.errors import UserError
from speechllm_bench.planning import estimate, places, studies
from speechllm_bench.running import heartbeat, logs, runner, single
from speechllm_bench.running.executors import machine
from speechllm_bench.settings.config import RunConfig, from_stored
from speechllm_bench.storage import paths, runs, sealed


def test_what_is_missing_is_run_and_then_there_is_nothing_to_do(suite, capsys):
    outcome = run(["cnn", "linear"])
    assert {r.variant for r in outcome.finished} == {"cnn", "linear"} and not outcome.failures
    told = capsys.readouterr().out
    assert "runs to do: 2 (0 are there); training stages after sharing: 4;" in told
    assert "Expected time: about " in told
    again = run(["cnn", "linear"])
    assert again.finished == () and "all 2 runs are there, nothing to do" in capsys.readouterr().out
    assert len(events(suite)) == 4
    assert not list((suite / ".cache" / "status").iterdir())


@pytest.mark.parametrize(
    ("gib", "gpus", "recorded", "jobs"),
    [
        *((64, 0, (), 16), (9, 0, (), 4), (1, 0, (), 1), (64, 1, (), 4), (64, 8, (), 16), (9, 8, (), 4)),
        *((64, 0, (900, 6000), 10), (9, 0, (900,), 10), (9, 8, (3000,), 3)),
    ],
)
def test_as_many_runs_go_on_as_cores_memory_and_gpus_allow(suite, monkeypatch, gib, gpus, recorded, jobs):
    for i, mib in enumerate(recorded):
        file = paths.results("smoke") / "runs" / str(i) / "run.json"
        sealed.write(file, {"peak_memory_mib": mib}, {})
    monkeypatch.setattr(machine, "cores", lambda: 16)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=gib * 2**30))
    monkeypatch.setattr(machine, "gpus", lambda: [machine.Gpu(str(i), 80) for i in range(gpus)])
    assert runner.at_once("smoke") == jobs


def test_expected_time_comes_from_recorded_runs(suite):
    run(["cnn"])
    plan = studies.plan(["adapter_size"], "smoke", ["linear", "mlp", "transformer"])
    assert estimate.expected_seconds(plan, jobs=1) == 180
    assert estimate.expected_seconds(plan, jobs=3) == 60
    assert "Expected time: about 3 min 00 s" in estimate.describe(plan, 1)
    runs.write_text(suite / "results" / "smoke" / "runs" / ".d.tmp" / "run.json", "another runner is writ")
    assert estimate.expected_seconds(plan, jobs=1) == 180


def test_a_shared_stage_counts_with_the_first_run_that_trains_it(suite):
    run(["cnn"])
    plan = studies.plan(["adapter_size"], "smoke", ["mlp", "no_audio"])  # one training, heard two ways
    mlp, no_audio = estimate.run_seconds(plan).values()
    assert mlp > no_audio > 0 and mlp + no_audio == estimate.expected_seconds(plan, jobs=1)


def test_an_example_of_a_warm_start_counts_as_a_tenth(suite):
    """Both ways: in what is recorded, and in what is to be trained."""
    run(["cnn"])
    plan = studies.plan(["adapter_size"], "smoke", ["mlp"])
    (mlp,) = plan.runs
    first = mlp.config.stages[0].model_copy(update={"objective": "ctc"})
    stages = [first, *mlp.config.stages[1:]]
    warm = replace(mlp, config=mlp.config.model_copy(update={"stages": stages}))
    before = estimate.run_seconds(plan)[mlp.digest]
    after = estimate.run_seconds(replace(plan, runs=(warm,)))[mlp.digest]
    seen = [stage.examples for stage in stages]
    file = next((suite / "results" / "smoke" / "stages").glob("*/stage.json"))
    pace = sum(runs.read_json(f)["seconds"] for f in file.parents[1].glob("*/stage.json")) / sum(seen)
    assert before - after == pytest.approx(0.9 * seen[0] * pace) and before > after
    sealed.write(file, sealed.read(file) | {"stage": {"objective": "ctc"}}, {})
    assert estimate.run_seconds(plan)[mlp.digest] > before  # the others took the time


def test_failures_are_recorded_and_the_others_go_on(suite, capsys):
    outcome = run(
        ["cnn", "cnn_xl", "linear", "mlp"],
        cnn="print('first'); sys.exit('the loss went astray')",
        cnn_xl="os.kill(os.getpid(), signal.SIGKILL)",
        linear="pass",
    )
    assert [r.variant for r in outcome.finished] == ["mlp"]
    found = {f["run"].split()[1]: (f["status"], f["message"]) for f in outcome.failures}
    assert found["cnn"] == ("failed", "the loss went astray")
    assert found["cnn_xl"] == ("killed", "its process was ended by SIGKILL, often a lack of memory")
    assert found["linear"] == ("failed", "its process left no record")
    cnn = studies.run("adapter_size", "cnn", 0, "smoke")
    assert cnn.status == "failed"
    record = runs.read_json(places.failure_file("smoke", cnn.digest))
    assert record["log_tail"] == ["first", "the loss went astray"]
    assert (suite / record["log"]).is_file()
    assert f"log: {record['log']}" in capsys.readouterr().out

    outcome = run(["cnn"])
    assert len(outcome.finished) == 1 and not places.failure_file("smoke", cnn.digest).exists()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_run_over_its_time_limit_is_killed_with_its_children(suite, monkeypatch):
    plan = studies.plan(["adapter_size"], "smoke", ["cnn", "linear"])
    hurried = plan.profile.model_copy(update={"time_limit_minutes": 5 / 60})
    plan = studies.Plan(hurried, plan.runs)
    monkeypatch.setattr(runner, "GRACE_SECONDS", 1)
    body = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
log("child" if child == 0 else "parent")
time.sleep(60)
"""
    outcome = runner.run_missing(plan, 2, stand_in(cnn=body), prepare)
    assert [f["status"] for f in outcome.failures] == ["timeout"]
    assert [r.variant for r in outcome.finished] == ["linear"]
    pids = [pid for what, _, _, pid in events(suite) if what in ("child", "parent")]
    assert len(pids) == 2
    # A killed child that nobody waits for takes a moment to go; left alone it would sleep for a minute.
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)


def test_two_runs_of_one_stage_do_not_start_together(suite):
    # The stage is mlp's; the transformer goes on until no_audio, which waits for that stage, has started.
    mlp = """wait('"start", "transformer"');"""
    transformer = """wait('"start", "no_audio"');"""
    variants = ["mlp", "transformer", "no_audio"]
    outcome = run(variants, jobs=3, mlp=mlp + WELL, transformer=transformer + WELL)
    assert len(outcome.finished) == 3
    at = {(what, variant): when for what, variant, when, _ in events(suite)}
    assert at["start", "no_audio"] > at["end", "mlp"]


def test_ctrl_c_stops_the_runs_and_keeps_what_is_finished(suite):
    marker = suite / "stopped"
    body = f"""
def stop(*_):
    Path("{marker}").write_text("tidy")
    sys.exit(1)
signal.signal(signal.SIGTERM, stop)
time.sleep(60)
"""

    def interrupt():
        linear = studies.run("adapter_size", "linear", 0, "smoke")
        while len(events(suite)) < 3 or not places.run_done("smoke", linear.digest):
            time.sleep(0.1)
        time.sleep(2)  # until the runner has seen it
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(
        KeyboardInterrupt, match="Stopped. Finished runs, kept: 1; left for the next start: 1"
    ):
        run(["linear", "cnn"], cnn=body)
    assert marker.read_text() == "tidy"
    assert studies.run("adapter_size", "linear", 0, "smoke").status == "done"
    cnn = studies.run("adapter_size", "cnn", 0, "smoke")
    assert cnn.status == "missing"  # to be resumed, which is no failure


def test_a_corpus_that_cannot_be_prepared_stops_before_any_run(suite):
    plan = studies.plan(["adapter_size"], "smoke", ["cnn"])
    broken = [sys.executable, "-c", "import sys; sys.exit('speechllm-bench: no voice')"]
    with pytest.raises(UserError, match="could not be prepared: no voice"):
        runner.run_missing(plan, 1, stand_in(), lambda *_: broken)
    assert not (suite / "events").exists()


def test_what_is_prepared_is_what_the_runs_need_each_once(suite, monkeypatch):
    prepared = []

    def command(run, jobs):
        prepared.append(run.variant)
        return prepare(run, jobs)

    plan = studies.plan(["adapter_size"], "smoke", ["cnn", "linear", "mlp"], [0])
    cnn, linear, mlp = plan.runs
    config = linear.config.model_copy(update={"adapter": None})
    gold = replace(linear, config=config)
    asr = config.evaluation.model_copy(update={"text": "asr"})
    cascade = replace(linear, config=config.model_copy(update={"evaluation": asr}), digest="cascade")
    monkeypatch.setattr(runner, "_run_all", lambda *_: ([], []))
    runner.run_missing(replace(plan, runs=(cnn, cascade, mlp, gold)), 2, stand_in(), command)
    assert sorted(prepared) == ["cnn", "linear"]  # frames to hear, a corpus to recognise
    prepared.clear()
    runner.run_missing(replace(plan, runs=(gold,)), 2, stand_in(), command)
    assert prepared == []  # nothing is spoken for who reads gold transcripts


def test_a_run_that_would_wait_for_anothers_recognition_is_not_started_beside_it(suite, monkeypatch):
    monkeypatch.setattr(studies.identity, "backbone_hash", lambda name: name)

    def reads(run):
        evaluation = run.config.evaluation.model_copy(update={"text": "asr"})
        config = run.config.model_copy(update={"adapter": None, "evaluation": evaluation})
        return replace(run, config=config)

    cnn, linear, mlp = studies.plan(["adapter_size"], "smoke", ["cnn", "linear", "mlp"], [0]).runs
    first, second = reads(cnn), reads(linear)
    assert runner.next_run([second, mlp], [first]) is mlp
    runs.write_json(places.transcripts_file(first.config, "A-test"), {})
    assert runner.next_run([second, mlp], [first]) is second


def test_a_full_disk_is_told_before_anything_starts(suite, monkeypatch):
    monkeypatch.setattr(runner, "LEAST_DISK", 2**60)
    with pytest.raises(UserError, match="MiB are free where results are kept"):
        run(["cnn"])


def test_a_disk_that_fills_up_meanwhile_stops_the_runs_and_the_next_start_goes_on(suite, monkeypatch):
    write = runs.write_json

    def no_room(path, record, **how):
        if path.parent.name == "failed":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, record, **how)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(runs, "write_json", no_room)
        run(["cnn", "linear"], cnn='wait(\'"start", "linear"\'); sys.exit(1)', linear="time.sleep(60)")
    assert not any(alive(pid) for *_, pid in events(suite))
    assert len(run(["cnn", "linear"]).finished) == 2


def test_a_full_disk_is_told_where_no_log_could_hold_the_message(suite, monkeypatch):
    def silent(profile, jobs):
        monkeypatch.setattr(runner, "LEAST_DISK", 2**60)  # from now on there is too little
        return [sys.executable, "-c", "import sys; sys.exit(2)"]

    plan = studies.plan(["adapter_size"], "smoke", ["cnn"])
    with pytest.raises(UserError, match="MiB are free where results are kept"):
        runner.run_missing(plan, 1, stand_in(), silent)


REAL_RUN = """
import sys, time, types
from pathlib import Path
from speechllm_bench import cli, running
from speechllm_bench.planning import identity, places
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.errors import UserError
from speechllm_bench.running.executors import machine
def log(what):
    with open("{events}", "a") as file:
        file.write(what + " {variant}\\n")
def wait(condition):
    while not condition():
        time.sleep(0.05)
def execute(config, profile, tell):
    tell("train", 0.5)
    log("try")
    digest = identity.run_digest(config)
    folder, failure = places.run_folder(profile, digest), places.failure_file(profile, digest)
    if "{variant}" == "cnn":  # goes astray once the other runner waits for it, then well
        if Path("{events}").read_text().count("try cnn") == 1:
            wait(lambda: Path("{events}").read_text().count("start cnn") == 2)
            raise UserError("the first try went astray")
        wait(failure.is_file)
    with runs.whole_folder(folder) as temporary:
        sealed.write(temporary / "run.json", {{"status": "ok", "seconds": {{"total": 1.0}}}})
    return folder
paths.EXPERIMENTS, identity._surroundings = Path("{experiments}"), lambda config, heard: ()
sys.modules["speechllm_bench.running.jobs"] = running.jobs = types.SimpleNamespace(execute=execute)
log("start")
sys.exit(cli.main(["run", "adapter_size", "{variant}"]))
"""


def test_two_runners_of_one_profile_do_every_run_once_and_a_failed_one_again(suite):
    def command(run, threads):
        names = {"events": suite / "events", "experiments": paths.EXPERIMENTS, "variant": run.variant}
        return [sys.executable, "-c", REAL_RUN.format(**names)]

    plan = studies.plan(["adapter_size"], "smoke", ["cnn", "linear"])
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(runner.run_missing, plan, 2, command, prepare) for _ in range(2)]
    outcomes = [future.result() for future in both]
    tries = [line for line in (suite / "events").read_text().splitlines() if line.startswith("try")]
    assert sorted(tries) == ["try cnn", "try cnn", "try linear"]
    assert sorted(len(outcome.finished) for outcome in outcomes) == [1, 2]
    assert [f["message"] for o in outcomes for f in o.failures] == ["the first try went astray"]
    assert all(places.run_done(run.profile, run.digest) for run in plan.runs)
    assert not list((suite / "results" / "smoke" / "failed").iterdir())
    files = (suite / "results" / "smoke" / "logs").glob(f"{plan.runs[0].digest}*.log")
    ends = sorted(log.read_text().splitlines()[-1] for log in files)  # a file for each runner
    assert ends[1].endswith("went astray") and "results/smoke/runs" in ends[0]


def test_a_failed_run_is_told_by_its_own_output_not_by_a_job_that_waits_for_it(suite, monkeypatch):
    """Another runner writes about the same run right after the failure, and has emptied its log before."""
    ended = runner._ended

    def seen_late(job, limit):
        if (status := ended(job, limit)) is not None:
            log = logs.empty_log(job.log.file.parent, job.run.digest)
            log.file.write_text("process 7 of vm executes adapter_size cnn seed 0; this one waits.")
            log.close()
        return status

    monkeypatch.setattr(runner, "_ended", seen_late)
    (failure,) = run(["cnn"], cnn="sys.exit('speechllm-bench: went astray')").failures
    assert failure["message"] == "went astray" and failure["log_tail"] == ["speechllm-bench: went astray"]
    assert len(list((suite / "results" / "smoke" / "logs").glob("*-2.log"))) == 1


def test_a_closed_log_is_used_again(tmp_path, suite):
    first = logs.empty_log(tmp_path, "run")
    second = logs.empty_log(tmp_path, "run")
    first.file.write_text("old")
    first.close()
    third = logs.empty_log(tmp_path, "run")
    assert [log.file.name for log in (first, second, third)] == ["run.log", "run-2.log", "run.log"]
    assert third.file.read_text() == ""


def test_each_process_gets_its_share_of_the_cores(suite, monkeypatch):
    monkeypatch.setattr(runner, "cores", lambda: 8)
    told = "print(os.environ['OMP_NUM_THREADS'], os.environ['TOKENIZERS_PARALLELISM']); finish()"
    run(["cnn"], jobs=2, cnn=told)
    cnn = studies.run("adapter_size", "cnn", 0, "smoke")
    log = suite / "results" / "smoke" / "logs" / f"{cnn.digest}.log"
    assert log.read_text().split() == ["4", "false"]
    assert runner.run_command(cnn, 4)[-2:] == ["--threads", "4"]


def test_a_process_is_handed_the_config_that_the_plan_resolved(suite):
    body = "print(Path(sys.argv[sys.argv.index('--config') + 1]).read_text()); finish()"
    run(["cnn"], cnn=body)
    cnn = studies.run("adapter_size", "cnn", 0, "smoke")
    log = suite / "results" / "smoke" / "logs" / f"{cnn.digest}.log"
    assert from_stored(RunConfig, json.loads(log.read_text())) == cnn.config
    assert not list((suite / ".cache" / "planned").iterdir())


def test_the_config_of_a_job_survives_the_end_of_another_runners_job_for_the_run(suite):
    def tell(what):
        with open(suite / "events", "a") as file:
            file.write(f'["{what}"]\n')

    config = "config = sys.argv[sys.argv.index('--config') + 1]; log(config); "
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, ["cnn"], 1, cnn=config + "wait('both'); finish()")
        second = pool.submit(run, ["cnn"], 1, cnn=config + "wait('settled'); open(config); finish()")
        while len(written := {name for name, *_ in events(suite) if name.endswith(".json")}) < 2:
            assert not (first.done() or second.done()), [f.exception() for f in (first, second) if f.done()]
            time.sleep(0.05)
        tell("both")
        outcomes = [first.result()]
        tell("settled")
        outcomes.append(second.result())
    assert len(written) == 2 and not any(outcome.failures for outcome in outcomes)


def test_a_job_that_fails_after_another_runner_has_made_its_run_is_no_failure(suite):
    (made,) = run(["cnn"], cnn="finish(); sys.exit('the folder is there already')").finished
    assert made.variant == "cnn" and not list((suite / "results" / "smoke").glob("failed/*"))


def test_a_run_with_a_config_resolves_no_study(suite, monkeypatch):
    planned = studies.run("adapter_size", "cnn", 1, "smoke")
    runs.write_json(suite / "config.json", planned.config.as_stored())
    executed = []
    monkeypatch.setattr(single, "execute", lambda run, unless_busy: executed.append(run))
    monkeypatch.setattr(studies, "run", lambda *names: pytest.fail("resolved again"))
    arguments = ["run", "adapter_size", "cnn", "--seed", "1", "--config", str(suite / "config.json")]
    assert cli.main(arguments) == 0 and executed == [planned]


def test_who_waits_for_another_runner_is_seen_to_wait(suite):
    heartbeat.write_status("mini", "d", "train", 0.25)
    assert heartbeat.read_status("mini", "d", os.getpid())["phase"] == "train"
    assert heartbeat.read_status("mini", "d", 1) == {"phase": "waiting", "share": 0.25}
    assert heartbeat.read_status("mini", "other", 1)["phase"] == "starting"
    # settings that leave the digest as it is make another profile
    assert heartbeat.read_status("mini+training.micro_batch=4", "d", 1)["phase"] == "starting"
    for damaged in ({}, {"pid": os.getpid()}, []):
        runs.write_json(heartbeat.status_file("mini", "d"), damaged)
        assert heartbeat.read_status("mini", "d", os.getpid())["phase"] == "starting"


@pytest.mark.parametrize(("seconds", "text"), [(4.6, "5 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_clock(seconds, text):
    assert estimate.clock(seconds) == text
