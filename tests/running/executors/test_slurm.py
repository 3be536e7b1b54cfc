"""Slurm: a fake sbatch runs what it is given in the background; a script that submits without any package."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stand_ins import prepare, stand_in

from speechllm_bench.planning import studies
from speechllm_bench.running import lifeline, runner, slurm_script
from speechllm_bench.running.executors import Task
from speechllm_bench.running.executors.command import Command
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import paths, sealed

SBATCH = """#!{python}
import json, os, subprocess, sys
from pathlib import Path
queue = Path({queue!r})
number = len(list(queue.glob("*.json"))) + 1
options = [a for a in sys.argv[1:] if a.startswith("--")]
batch = next((a for a in sys.argv[1:] if not a.startswith("--")), None)
(queue / f"{{number}}.json").write_text(json.dumps({{"options": options, "batch": batch}}))
if batch:
    text = Path(batch).read_text().replace("%j", str(number)).replace("%t", "0").replace("%A", str(number))
    env = os.environ | {{"SLURM_JOB_ID": str(number), "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1",
                        "SLURM_JOB_NODELIST": "here", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
                        "SLURM_NODEID": "0"}}
    process = subprocess.Popen(["bash", "-c", text], env=env, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (queue / f"{{number}}.pid").write_text(str(process.pid))
print(number if "--parsable" in options else f"Submitted batch job {{number}}")
"""
SRUN = """#!{python}
import os, sys
rest = sys.argv[1:]
while rest and rest[0].startswith("-"):
    rest = rest[1:] if "=" in rest[0] or rest[0] == "--unbuffered" else rest[2:]
os.execvp(rest[0], rest)
"""
SACCT = """#!{python}
from pathlib import Path
print("JobID|State|NodeList")
for file in Path({queue!r}).glob("*.pid"):
    alive = Path("/proc", file.read_text()).is_dir()
    print(f"{{file.stem}}|{{'RUNNING' if alive else 'FAILED'}}|here")
"""
SCANCEL = """#!{python}
import os, signal, sys
from pathlib import Path
number = signal.SIGTERM if "--signal=TERM" in sys.argv else signal.SIGKILL
try:
    os.killpg(int((Path({queue!r}) / f"{{sys.argv[-1]}}.pid").read_text()), number)
except ProcessLookupError:
    pass
"""


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fake Slurm keeps what was submitted."""
    folder, programs = tmp_path / "queue", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scancel": SCANCEL}.items():
        file = programs / name
        file.write_text(text.format(python=sys.executable, queue=str(folder)))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return folder


def submitted(queue: Path) -> list[dict]:
    files = sorted(queue.glob("*.json"), key=lambda file: int(file.stem))
    return [json.loads(file.read_text()) for file in files]


@pytest.fixture
def on_slurm(queue, monkeypatch):
    pytest.importorskip(
        "submitit", reason="submitit is not installed: `pip install 'speechllm-bench[slurm]'`"
    )
    from speechllm_bench.running.executors import on_slurm

    monkeypatch.setattr(on_slurm, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(runner, "gpu_gib", lambda config: 5.0)
    return on_slurm


def test_runs_are_submitted_with_a_gpu_and_a_failed_one_is_told(suite, on_slurm, queue):
    plan = studies.plan(["adapter_size"], "smoke", ["cnn", "linear"])
    command = stand_in(cnn="sys.exit('the loss went astray')")
    outcome = runner.run_missing(plan, None, command, prepare, "slurm")
    assert [r.variant for r in outcome.finished] == ["linear"]
    assert [f["message"] for f in outcome.failures] == ["the loss went astray"]
    sent = [Path(job["batch"]).read_text() for job in submitted(queue)]
    assert len(sent) == 3 and all("#SBATCH --gpus-per-node=1" in text for text in sent)
    assert "--job-name=prepare_adapter_size" in sent[0] and "--time=1" in sent[1]
    assert "--requeue" in sent[1] or "--open-mode=append" in sent[1]


def test_a_job_that_slurm_loses_is_a_killed_run(suite, on_slurm, queue):
    plan = studies.plan(["adapter_size"], "smoke", ["cnn"])
    body = f"""
for file in Path({str(queue)!r}).glob("*.pid"):
    try:
        os.killpg(int(file.read_text()), signal.SIGKILL)
    except ProcessLookupError:
        pass
time.sleep(60)
"""
    outcome = runner.run_missing(plan, None, stand_in(cnn=body), prepare, "slurm")
    assert [f["status"] for f in outcome.failures] == ["killed"]


def test_a_job_taken_away_asks_its_run_for_a_checkpoint_and_is_submitted_again(suite, on_slurm, tmp_path):
    code = f"""
import signal, sys, time
from pathlib import Path
def stop(*_):
    Path({str(tmp_path / "kept")!r}).write_text("checkpoint")
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
Path({str(tmp_path / "begun")!r}).touch()
time.sleep(60)
"""
    command = on_slurm.Requeued(Task("t", [sys.executable, "-c", code], tmp_path / "log", 1, 0, 1))
    thread = threading.Thread(target=command, daemon=True)
    thread.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.05)
    again = command.checkpoint()
    thread.join(60)
    assert (tmp_path / "kept").read_text() == "checkpoint"
    assert again.function is command and command.__getstate__()["process"] is None


def test_a_command_finds_home_data_and_folder_wherever_it_runs(suite, tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", "/somewhere")
    monkeypatch.setenv(lifeline.VARIABLE, "7")
    monkeypatch.chdir(tmp_path)
    code = "import os; print(os.getcwd(), *(os.environ[f'SPEECHLLM_BENCH_{n}'] for n in ('HOME', 'DATA')))"
    command = Command(Task("t", [sys.executable, "-c", code], tmp_path / "log", 1, 0, 1))
    assert lifeline.VARIABLE not in command.settings
    for name in ("SPEECHLLM_BENCH_HOME", "SPEECHLLM_BENCH_DATA", lifeline.VARIABLE):
        monkeypatch.delenv(name)
    monkeypatch.chdir("/")
    assert command() == 0
    assert (tmp_path / "log").read_text().split() == [str(tmp_path), str(suite), "/somewhere"]


def test_a_script_submits_each_run_once_behind_what_it_starts_from(suite, queue):
    plan = studies.plan(["adapter_size"], "smoke", ["cnn", "mlp", "no_audio"])
    text = slurm_script.script(plan, threads=4)
    ran = subprocess.run(["bash"], input=text, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    jobs = [dict(o.lstrip("-").partition("=")[::2] for o in job["options"]) for job in submitted(queue)]
    assert [job["job-name"] for job in jobs] == ["prepare_1", "run_1", "run_2", "run_3"]
    commands = [shlex.split(job["wrap"].partition(" & ")[0]) for job in jobs]
    owners = runner.owners_first(plan.missing)
    assert commands[0] == runner.prepare_command(owners[0], 4)
    assert [r.variant for r in owners] == ["mlp", "no_audio", "cnn"]
    assert commands[1:] == [runner.run_command(run, 4) for run in owners]
    assert [job.get("dependency") for job in jobs] == [
        None, "afterok:1", "afterok:1,afterany:2", "afterok:1"
    ]  # fmt: skip
    assert all(job["gpus"] == "1" and job["cpus-per-task"] == "4" and job["time"] == "1" for job in jobs)
    assert all("requeue" in job and job["signal"] == "B:USR1@120" for job in jobs)
    assert f"export SPEECHLLM_BENCH_HOME={paths.home()}" in text


@pytest.mark.parametrize(
    ("sent", "queued_again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False), (None, False)]
)
def test_a_job_of_the_script_is_queued_again_where_slurm_takes_it_away(
    suite, queue, tmp_path, monkeypatch, sent, queued_again
):
    """USR1 is what the script lets Slurm send; a cancelled job gets TERM.

    The run ends at once, so that it is often gone before the shell waits for it again.
    """
    code = f"""
import os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: Path({str(tmp_path / "kept")!r}).touch() or os._exit(130))
Path({str(tmp_path / "begun")!r}).touch()
time.sleep({60 if sent else 0})
sys.exit(3)
"""
    (tmp_path / "run.py").write_text(code)
    command = [sys.executable, str(tmp_path / "run.py")]
    monkeypatch.setattr(runner, "run_command", lambda run, threads: command)
    text = slurm_script.script(studies.plan(["adapter_size"], "smoke", ["cnn"]), threads=1)
    subprocess.run(["bash"], input=text, capture_output=True, text=True, check=True)
    (wrap,) = (o.removeprefix("--wrap=") for o in submitted(queue)[-1]["options"] if o.startswith("--wrap="))
    again = tmp_path / "bin" / "scontrol"
    again.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "again"}\n')
    again.chmod(0o755)
    job = subprocess.Popen(["sh", "-c", wrap], env=os.environ | {"SLURM_JOB_ID": "7"})
    while not (tmp_path / "begun").exists():
        assert job.poll() is None
        time.sleep(0.05)
    if sent:
        job.send_signal(sent)
    assert job.wait(60) == (130 if sent else 3)
    assert (tmp_path / "kept").exists() == bool(sent)
    assert (tmp_path / "again").exists() == queued_again
    assert not queued_again or (tmp_path / "again").read_text() == "requeue 7\n"


def test_a_run_without_audio_waits_for_no_preparation(suite, queue, monkeypatch):
    monkeypatch.setattr(RunConfig, "needs_audio", property(lambda config: False))
    text = slurm_script.script(studies.plan(["adapter_size"], "smoke", ["cnn"]), threads=1)
    subprocess.run(["bash"], input=text, check=True, capture_output=True, text=True)
    (job,) = submitted(queue)
    assert not any(option.startswith("--dependency") for option in job["options"])


def test_a_script_of_a_plan_that_is_done_submits_nothing(suite, queue):
    run = studies.run("adapter_size", "cnn", 0, "smoke")
    sealed.write(run.folder / "run.json", {"status": "ok"}, {})
    text = slurm_script.script(studies.plan(["adapter_size"], "smoke", ["cnn"]), 1)
    subprocess.run(["bash"], input=text, check=True, capture_output=True, text=True)
    assert submitted(queue) == [] and re.search(r"profile smoke: 0\.", text)
