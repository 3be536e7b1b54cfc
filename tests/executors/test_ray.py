"""Ray, with fake GPUs and small stand-ins for runs; a worker that is killed is replaced."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from stand_ins import WELL, events, prepare, stand_in

from speechllm_bench import runner, studies

ray = pytest.importorskip("ray", reason="ray is not installed: `pip install 'speechllm-bench[ray]'`")

from speechllm_bench.executors import Task, on_ray  # noqa: E402

SOURCES = str(Path(on_ray.__file__).parents[2])
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


@pytest.fixture(scope="module")
def cluster():
    """One node with two fake GPUs and four CPUs."""
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", SOURCES)
        try:
            ray.init(num_cpus=4, num_gpus=2, **quiet)
        except Exception as error:  # it gives its own processes half a minute
            pytest.skip(f"Ray does not start on this machine: {str(error).partition('.')[0]}")
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
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    job = place.start(Task("t", [sys.executable, "-c", code], tmp_path / "log", 1, 0, 1))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.1)
    assert job.code() is None
    job.ask_to_stop()
    deadline = time.monotonic() + 60
    while job.code() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert job.code() == on_ray.STOPPED
    with pytest.raises(ProcessLookupError):
        for _ in range(200):
            os.kill(int((tmp_path / "pid").read_text()), 0)
            time.sleep(0.1)


def test_a_node_that_is_lost_loses_no_run(suite, monkeypatch, tmp_path):
    """Its runs are done on another node, once each on record."""
    from ray.cluster_utils import Cluster

    ray.shutdown()
    monkeypatch.setenv("PYTHONPATH", SOURCES)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    lost = nodes.add_node(num_cpus=1, resources={"first": 1})
    try:
        ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
        place = on_ray.Ray(None)
        code = f"import time; open({str(tmp_path / 'n')!r}, 'a').write('x'); time.sleep(2)"
        job = place.start(Task("t", [sys.executable, "-c", code], tmp_path / "log", 1, 0, 1))
        while not (tmp_path / "n").exists():
            time.sleep(0.1)
        nodes.add_node(num_cpus=1)
        nodes.remove_node(lost, allow_graceful=False)
        deadline = time.monotonic() + 120
        while job.code() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        assert job.code() == 0 and (tmp_path / "n").read_text() == "xx"
    finally:
        ray.shutdown()
        nodes.shutdown()
