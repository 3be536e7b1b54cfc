"""Ray, with fake GPUs and small stand-ins for runs; a worker that is killed is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from stand_ins import WELL, events, prepare, stand_in

from speechllm_bench.planning import studies
from speechllm_bench.running import runner

SOURCES = str(Path(runner.__file__).parents[2])
PATIENT = {  # a loaded machine takes minutes for what Ray gives its own processes 20 to 60 s
    **dict.fromkeys(
        (
            "RAY_gcs_server_port_wait_time_s",
            "RAY_gcs_server_request_timeout_seconds",
            "RAY_worker_register_timeout_seconds",
        ),
        "600",
    ),
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_raylet_client_connect_timeout_milliseconds": "600000",
    "RAY_AUTH_MODE": "disabled",  # no token in the home folder
}
os.environ.update(PATIENT)  # some are read when Ray is imported

ray = pytest.importorskip("ray", reason="ray is not installed: `pip install 'speechllm-bench[ray]'`")

from ray._private import services  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from speechllm_bench.running.executors import Task, on_ray  # noqa: E402

MINUTES = 10  # for whatever Ray is waited for
NODE_SECONDS, TRIES = 90, 4  # for a node


def started(begin, again=lambda: None):
    """What `begin` starts of Ray, at the first try that works; skips where none does.

    A node gives its own processes 20 s to tell their ports, which is written into it, and ends where a loaded
    machine takes longer.
    """
    told = ""
    for _ in range(TRIES):
        try:
            return begin()
        except Exception as error:
            told = str(error).partition(".")[0]
            again()
    pytest.skip(f"Ray does not start on this machine in {TRIES} tries: {told}")


def wait(until):
    deadline = time.monotonic() + 60 * MINUTES
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.2)


TOLD = "log('gpu ' + os.environ.get('CUDA_VISIBLE_DEVICES', 'none')); time.sleep(0.5);" + WELL
DIES_ONCE = """
marker = folder.parent / "died"
if not marker.exists():
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    log("dies")
    os.kill(int(os.environ["WORKER"]), signal.SIGKILL)
    os._exit(1)
"""
WAITS_ONCE = """
import os, pathlib, time
begun, parent = pathlib.Path({begun!r}), os.getppid()
first = not begun.exists()
begun.open("a").write("x")
while first and os.getppid() == parent:  # until its node is lost
    time.sleep(0.1)
if not first:
    pathlib.Path({record!r}).open("a").write("ok")
"""
IS_STOPPED = """
import sys, time
from speechllm_bench import cli
from speechllm_bench.running.executors.on_ray import Ray
def run_studies(chosen):
    place = Ray(None)
    print("ready", flush=True)
    try:
        time.sleep(3600)
    finally:
        place.close()
        print("closed", flush=True)
cli.run_studies = run_studies
sys.exit(cli.main(["study"]))
"""


@pytest.fixture(scope="module")
def patience():
    """Ray's driver waits longer for a node: half a minute is written into it."""

    def patient(*told, asked=services.get_node):
        deadline = time.monotonic() + NODE_SECONDS
        while True:
            try:
                return asked(*told)
            except RuntimeError:  # the node is not there yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "get_node", patient)
        patch.setenv("PYTHONPATH", SOURCES, prepend=os.pathsep)  # Ray itself may come from there
        yield


@pytest.fixture(scope="module")
def cluster(patience):
    """One node with two fake GPUs and four CPUs."""
    told = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    started(lambda: ray.init(num_cpus=4, num_gpus=2, **told), again=ray.shutdown)
    yield
    ray.shutdown()


def test_every_run_has_a_gpu_alone_and_a_killed_worker_is_replaced(suite, cluster, monkeypatch):
    monkeypatch.setattr(runner, "gpu_gib", lambda config: 5.0)
    monkeypatch.setattr(runner, "cores", lambda: 1)
    names = ["cnn", "linear", "mlp", "transformer"]
    plan = studies.plan(["adapter_size"], "smoke", names)
    dies = "os.environ['WORKER'] = str(os.getppid());" + DIES_ONCE
    outcome = runner.run_missing(
        plan, 4, stand_in(cnn=TOLD, linear=TOLD, transformer=TOLD, mlp=dies + TOLD), prepare, "ray"
    )
    assert {r.variant for r in outcome.finished} == set(names) and not outcome.failures
    found = events(suite)
    assert [what for what, variant, *_ in found if variant == "mlp"].count("start") == 2
    gpus = {variant: what.split()[1] for what, variant, *_ in found if what.startswith("gpu")}
    assert set(gpus.values()) == {"0", "1"}
    spans = {
        v: [when for what, variant, when, _ in found if variant == v and what[:3] in ("gpu", "end")][-2:]
        for v in names
    }
    for one in names:
        for other in names:
            if one < other and gpus[one] == gpus[other]:
                first, second = sorted((spans[one], spans[other]))
                assert first[1] <= second[0]
    assert ray.is_initialized()  # it was there before


def test_a_task_that_is_stopped_ends_with_its_process(suite, cluster, tmp_path):
    place = on_ray.Ray(None)
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(3600)"
    job = place.start(Task("t", [sys.executable, "-c", code], tmp_path / "log", 1, 0, 1))
    wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    assert job.code() is None
    job.ask_to_stop()
    wait(lambda: job.code() is not None)
    assert job.code() == on_ray.STOPPED
    wait(lambda: not psutil.pid_exists(int((tmp_path / "pid").read_text())))


def test_a_study_that_is_stopped_stops_its_runs_itself(suite, cluster):
    """Ray has a handler of its own for SIGTERM, which ends the process at once."""
    there = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    study = subprocess.Popen(
        [sys.executable, "-c", IS_STOPPED], env=os.environ | there, stdout=subprocess.PIPE, text=True
    )
    assert study.stdout.readline() == "ready\n"
    study.send_signal(signal.SIGTERM)
    assert study.stdout.read() == "closed\n" and study.wait(60 * MINUTES) == on_ray.STOPPED


def test_a_node_that_is_lost_loses_no_run(suite, patience, tmp_path):
    """Its runs are done on another node, once each on record."""
    ray.shutdown()
    nodes = started(lambda: Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False}))
    try:
        lost = started(lambda: nodes.add_node(num_cpus=1))
        ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
        place = on_ray.Ray(None)
        code = WAITS_ONCE.format(begun=str(tmp_path / "n"), record=str(tmp_path / "record"))
        job = place.start(Task("t", [sys.executable, "-c", code], tmp_path / "log", 1, 0, 1))
        wait(lambda: (tmp_path / "n").exists())
        started(lambda: nodes.add_node(num_cpus=1))
        nodes.remove_node(lost, allow_graceful=False)
        wait(lambda: job.code() is not None)
        assert job.code() == 0 and (tmp_path / "n").read_text() == "xx"
        assert (tmp_path / "record").read_text() == "ok"
    finally:
        ray.shutdown()
        nodes.shutdown()
