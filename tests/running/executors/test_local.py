"""This machine as an executor: GPUs shared by memory, several runners, owners of shared stages first."""

from __future__ import annotations

import stat
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from stand_ins import WELL, events, run

from speechllm_bench import cli
from speechllm_bench.errors import BUSY, UserError
from speechllm_bench.planning import estimate, studies
from speechllm_bench.running import executors, runner, single
from speechllm_bench.running.executors import Task, machine
from speechllm_bench.running.executors.local import Local
from speechllm_bench.running.executors.machine import Gpu
from speechllm_bench.storage import process, runs

SHOWN = """#!/bin/sh
echo '0, GPU-aaaa-1, 81559'
echo '1, GPU-bbbb-2, 81559'
"""


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose nvidia-smi tells of two GPUs of 80 GB."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake(tmp_path / "bin" / "nvidia-smi", SHOWN, monkeypatch)


def fake(file: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name, before all others."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(file.parent), prepend=":")


def task(tmp_path: Path, gib: float, code: str = "import time; time.sleep(60)") -> Task:
    return Task("a task", [sys.executable, "-c", code], tmp_path / "log", 1, gib, 1)


def ended(job, seconds: float = 60) -> int:
    deadline = time.monotonic() + seconds
    while (code := job.code()) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return code


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, ["0", "1"]), ("1", ["1"]), ("1,0", ["1", "0"]), ("GPU-bb", ["GPU-bb"]), ("", []), ("7", [])],
)
def test_gpus_are_those_that_are_visible(two_gpus, monkeypatch, visible, names):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = machine.gpus()
    assert [gpu.name for gpu in found] == names and all(70 < gpu.gib < 80 for gpu in found)


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 9\n", "#!/bin/sh\necho No devices were found\n"])
def test_a_driver_without_a_gpu_is_none(tmp_path, monkeypatch, text):
    fake(tmp_path / "bin" / "nvidia-smi", text, monkeypatch)
    assert machine.gpus() == []


def test_the_smallest_gpu_counts_whatever_is_visible(two_gpus, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.gpus() == [] and 70 < machine.smallest_gpu() < 80
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert machine.smallest_gpu() == 0.0


def test_jobs_share_gpus_by_memory_and_a_large_one_has_its_own(tmp_path):
    place = Local(8, [Gpu("0", 70.0), Gpu("GPU-b", 70.0)])
    jobs = [place.start(task(tmp_path, gib)) for gib in (30, 30, 30, 30)]
    try:
        assert sorted(job.gpu.name for job in jobs) == ["0", "0", "GPU-b", "GPU-b"]
        assert place.room(10) and not place.room(11) and not place.room(90)
        for job in jobs:
            if job.gpu.name == "0":
                job.kill()
        large = place.start(task(tmp_path, 90))  # more than any has: alone on the empty one
        jobs.append(large)
        assert large.gpu.name == "0" and not place.room(11) and place.room(10)
        assert place.start(task(tmp_path, 10, "")).gpu.name == "GPU-b"
    finally:
        for job in jobs:
            job.kill()


def test_a_child_sees_its_gpu_and_its_share_of_the_cores_alone(tmp_path):
    told = "import os; print(*(os.environ.get(n) for n in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')))"
    for gpus in ([Gpu("3", 70.0)], []):
        assert ended(Local(1, gpus).start(task(tmp_path, 5.0 if gpus else 0, told))) == 0
    assert (tmp_path / "log").read_text().splitlines()[0] == "3 1"


def test_two_runs_that_fill_a_gpu_are_not_on_it_together(suite, two_gpus, monkeypatch):
    monkeypatch.setattr(runner, "gpu_gib", lambda config: 50.0)
    told = "print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(0.3);" + WELL
    names = ["cnn", "linear", "mlp", "transformer"]
    outcome = run(names, jobs=4, **dict.fromkeys(names, told))
    assert len(outcome.finished) == 4
    logs = suite / "results" / "smoke" / "logs"
    seen = {r.variant: (logs / f"{r.digest}.log").read_text().strip() for r in outcome.finished}
    at = {(what, variant): when for what, variant, when, _ in events(suite)}
    assert set(seen.values()) == {"0", "1"}
    for one in seen:
        for other in seen:
            if one < other and seen[one] == seen[other]:
                first, second = sorted((one, other), key=lambda name: at["start", name])
                assert at["end", first] <= at["start", second]


def test_memory_is_that_of_measured_trainings_or_more(monkeypatch, tiny_run):
    """benchmarks/paper_scale.md: 10 GiB at 1 B, 75 at 4 B with traces, 56 at 8 B."""
    config = tiny_run()

    def gib(billions: float, task: str = "slots") -> float:
        monkeypatch.setattr(estimate.identity, "n_stored", lambda name: billions * 1e9)
        stage = config.stages[0].model_copy(update={"batch_size": 32, "tasks": {task: 1.0}})
        return estimate.gpu_gib(config.model_copy(update={"precision": "bf16", "stages": [stage]}))

    assert 10 < gib(1.24) < 20 and 75 < gib(4.0, "slots_reasoning") < 90 and 56 < gib(8.0) < 95


def test_owners_of_shared_stages_come_first(suite):
    names = ["cnn", "mlp", "no_audio"]
    plan = studies.plan(["adapter_size"], "smoke", names)
    assert [r.variant for r in runner.owners_first(plan.missing)] == ["mlp", "no_audio", "cnn"]


BUSY_THEN_WELL = """
if '--unless-busy' in sys.argv and 'linear' not in Path({events!r}).read_text():
    sys.exit({busy})
"""


def test_a_busy_run_is_left_for_others_and_tried_again(suite, monkeypatch):
    monkeypatch.setattr(runner, "BUSY_SECONDS", 0.5)
    body = BUSY_THEN_WELL.format(busy=BUSY, events=str(suite / "events")) + WELL
    outcome = run(["cnn", "linear"], jobs=1, cnn=body)
    assert len(outcome.finished) == 2 and not outcome.failures
    assert [what[:2] for what in events(suite)] == [
        ["start", "cnn"], ["start", "linear"], ["end", "linear"], ["start", "cnn"], ["end", "cnn"]
    ]  # fmt: skip


@pytest.mark.parametrize("held", ["run", "stage"])
def test_a_run_is_left_where_another_process_is_at_it_or_at_its_stage(suite, held, capsys):
    one = studies.run("adapter_size", "cnn", 0, "smoke")
    folder = one.folder if held == "run" else one.trained_into()[1]
    with runs.lock(folder):
        assert cli.main(["run", "adapter_size", "cnn", "--unless-busy"]) == BUSY
    at_it = {"run": "executes", "stage": "trains a stage of"}[held]
    told = f"{process.named(process.own())} {at_it} adapter_size cnn seed 0"
    assert told in capsys.readouterr().err
    assert not runs.locked(folder)


def test_who_waits_for_a_run_says_for_which_process(suite, capfd):
    one = studies.run("adapter_size", "cnn", 0, "smoke")
    with ThreadPoolExecutor() as pool:
        with runs.lock(one.folder):
            waits, told = pool.submit(single.execute, one), ""
            while "this one waits" not in told:
                assert not waits.done()
                told += capfd.readouterr().err
            runs.write_json(one.folder / "run.json", {"status": "ok"})
        assert "is there already" in waits.result(60)
    assert f"{process.named(process.own())} executes adapter_size cnn seed 0; this one waits." in told


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_runner_without_its_package_ends_in_a_sentence(monkeypatch, name):
    module = {"ray": "ray", "slurm": "submitit"}[name]
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"speechllm_bench.running.executors.on_{name}", raising=False)
    with pytest.raises(UserError, match=rf"the package {module}; `pip install 'speechllm-bench\[{name}\]'`"):
        executors.executor(name)


def test_a_runner_that_there_is_not_is_refused(suite, capsys):
    assert cli.main(["study", "adapter_size", "--runner", "condor"]) == 2
    assert "choose from" in capsys.readouterr().err
