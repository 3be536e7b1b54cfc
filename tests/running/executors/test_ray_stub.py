"""What is asked of Ray, by a stub in its place that starts every task in a thread."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import types

import pytest
from stand_ins import WELL, prepare, stand_in

from speechllm_bench import cli
from speechllm_bench.planning import studies
from speechllm_bench.running import executors, runner
from speechllm_bench.running.executors import Task


class RayError(Exception):
    pass


class TaskCancelledError(RayError):
    pass


class Reference(threading.Thread):
    def __init__(self, command):
        super().__init__(daemon=True)
        self.command, self.found = command, None
        self.start()

    def run(self):
        self.found = self.command()


@pytest.fixture
def stub(monkeypatch):
    """The stub, with what it was asked in `asked`."""
    made = types.ModuleType("ray")
    made.asked, made.polled, made.on = [], [], []
    made.exceptions = types.SimpleNamespace(RayError=RayError, TaskCancelledError=TaskCancelledError)
    made.ObjectRef = Reference
    made.is_initialized = lambda: bool(made.on)
    made.init = lambda **told: made.on.append(told)
    made.shutdown = made.on.clear
    made.cluster_resources = lambda: {"GPU": 2.0}
    made.gpus = {"10.0.0.1": 0, "10.0.0.2": 2}  # of each node
    made.nodes = lambda: [
        {"NodeManagerAddress": ip, "Resources": {"CPU": 4.0} | ({"GPU": n} if n else {})}
        for ip, n in made.gpus.items()
    ]
    made.wait = lambda some, timeout: ([r for r in some if not r.is_alive()], [])
    made.cancel = lambda reference, force=False: made.asked.append({"cancelled": force})

    def get(reference):
        if isinstance(reference, list):
            return [one.join() or get(one) for one in reference]
        if isinstance(reference.found, Exception):
            raise reference.found
        return reference.found

    def remote(**kept):
        def wrap(function):
            class Remote:
                def options(self, **needs):
                    (made.polled if "resources" in needs else made.asked).append(kept | needs)
                    return types.SimpleNamespace(remote=lambda *told: Reference(lambda: function(*told)))

            return Remote()

        return wrap

    made.get, made.remote = get, remote
    monkeypatch.setitem(sys.modules, "ray", made)
    monkeypatch.delitem(sys.modules, "speechllm_bench.running.executors.on_ray", raising=False)
    yield made
    sys.modules.pop("speechllm_bench.running.executors.on_ray", None)


def test_runs_are_tasks_with_a_gpu_that_are_retried_and_ray_is_quiet(suite, stub, monkeypatch):
    monkeypatch.setattr(runner, "gpu_gib", lambda config: 30.0)
    plan = studies.plan(["adapter_size"], "smoke", ["cnn", "linear"])
    started = []
    stub.init = lambda **told: (started.append(told), stub.on.append(told))
    command = stand_in(cnn=WELL, linear="sys.exit('astray')")
    outcome = runner.run_missing(plan, None, command, prepare, "ray")
    assert [r.variant for r in outcome.finished] == ["cnn"]
    assert [f["message"] for f in outcome.failures] == ["astray"]
    assert started == [{"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}]
    assert not stub.on  # what was started is shut down
    assert len(stub.asked) == 3
    assert all((t["max_calls"], t["max_retries"], t["num_gpus"]) == (1, 2, 1.0) for t in stub.asked)
    assert [t["name"] for t in stub.asked] == [
        "prepare adapter_size", "adapter_size cnn seed 0", "adapter_size linear seed 0"
    ]  # fmt: skip


def test_this_process_is_stopped_as_before(suite, stub):
    """Ray has a handler of its own for SIGTERM, with which a stopped study would leave its jobs alone."""

    def init(**told):
        stub.on.append(told)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def ours(*_): ...

    stub.init, before = init, signal.signal(signal.SIGTERM, ours)
    try:
        executors.executor("ray")
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("address", ["head:6379", ""])
def test_a_ray_that_does_not_answer_is_told_in_a_sentence(suite, stub, monkeypatch, capsys, address):
    def fails(**told):
        raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.setenv("RAY_ADDRESS", address)
    stub.init = fails
    assert cli.main(["study", "adapter_size", "--variants", "cnn", "--runner", "ray"]) == 2
    told = f"Ray does not answer at {address or 'this machine'} (The current node timed out during startup)"
    ended = f"speechllm-bench: {told}; correct RAY_ADDRESS, or start again"
    assert capsys.readouterr().err.splitlines()[-1] == ended


@pytest.mark.parametrize(
    ("found", "code"), [(3, 3), (TaskCancelledError(), 130), (RayError("a node is lost"), -9)]
)
def test_how_a_task_ended_is_its_exit_code_or_that_of_a_stop_or_a_kill(suite, stub, tmp_path, found, code):
    stub.on.append("another's")
    place = executors.executor("ray", 5)
    job = place.start(Task("t", [sys.executable, "-c", "pass"], tmp_path / "log", 1, 0.0, 1))
    job.reference.join()
    job.reference.found = found
    assert job.code() == code and place.at_once == 5
    job.ask_to_stop()
    job.kill()
    assert stub.asked[-2:] == [{"cancelled": False}, {"cancelled": True}]
    assert stub.asked[0]["num_gpus"] == 0  # nothing that needs one
    place.close()
    assert stub.on  # another's Ray goes on


def test_a_gpu_is_shared_in_twentieths_by_memory(suite, stub, tmp_path):
    place = executors.executor("ray")
    place.smallest = 76.0
    for gib in (1.0, 38.0, 500.0):
        place.start(Task("t", [sys.executable, "-c", "pass"], tmp_path / "log", 1, gib, 1))
    assert [t["num_gpus"] for t in stub.asked] == [0.05, 0.5, 1.0]


def test_a_task_asks_for_no_more_cores_than_a_node_has(suite, stub, tmp_path):
    """Else it would wait for ever. The machine that starts the runs may be larger than the nodes."""
    place = executors.executor("ray")
    command = [sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"]
    for threads in (64, 2):
        place.start(Task("t", command, tmp_path / "log", threads, 0.0, 1)).reference.join()
    assert [t["num_cpus"] for t in stub.asked] == [4, 2]
    assert (tmp_path / "log").read_text().split() == ["4", "2"]
    for node in (dead := stub.nodes()):
        node["Resources"] = {}
    stub.nodes = lambda: dead  # a cluster whose nodes are still to come
    place.start(Task("t", command, tmp_path / "log", 64, 0.0, 1))
    assert stub.asked[-1]["num_cpus"] == 1


def test_nodes_with_gpus_are_asked_how_large_their_gpus_are(suite, stub, monkeypatch):
    """The machine that starts the runs may have no GPU, or other ones."""
    on_ray = importlib.import_module("speechllm_bench.running.executors.on_ray")
    told = iter([140.0, 22.0])
    stub.gpus |= {"10.0.0.3": 1}
    monkeypatch.setattr(on_ray, "smallest_gpu", lambda: next(told))
    assert executors.executor("ray").smallest == 22.0
    assert [(one["num_cpus"], one["resources"]) for one in stub.polled] == [
        (0, {"node:10.0.0.2": 0.001}), (0, {"node:10.0.0.3": 0.001})
    ]  # fmt: skip
    told = iter([140.0, 0.0])  # one node has no nvidia-smi: each run has a whole GPU
    assert executors.executor("ray").smallest == 0.0
