"""The executor for Ray. Each job is a Ray task that runs the same command line as on other executors.

`RAY_ADDRESS` names a cluster; without it Ray starts on this machine. A killed worker is replaced up to twice,
and its run resumes from its checkpoint. All nodes must see the home folder at the same path.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # must be set before the import

import ray

from speechllm_bench.errors import UserError
from speechllm_bench.running.executors import KILLED, MOST_QUEUED, STOPPED, Task
from speechllm_bench.running.executors.command import Command
from speechllm_bench.running.executors.machine import smallest_gpu

SHARES = 20  # a job gets a multiple of 1/20 of a GPU


def smallest() -> float:
    """Ask every node with GPUs; return the GiB of the smallest GPU, 0 if one of them does not tell it."""
    there = [node["NodeManagerAddress"] for node in ray.nodes() if node["Resources"].get("GPU")]
    ask = ray.remote(num_cpus=0)(smallest_gpu)
    return min(ray.get([ask.options(resources={f"node:{ip}": 0.001}).remote() for ip in there]), default=0.0)


def _begin() -> None:
    """Connect to the cluster, or start Ray on this machine. Raises UserError where that fails."""
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # for a node that starts slowly Ray raises no class of its own
        where = os.environ.get("RAY_ADDRESS") or "this machine"
        why = str(error).partition(".")[0]
        told = f"Ray does not answer at {where} ({why}); correct RAY_ADDRESS, or start again"
        raise UserError(told) from None


@dataclass
class RayJob:
    reference: ray.ObjectRef
    pid: int | None = None

    def code(self) -> int | None:
        if not ray.wait([self.reference], timeout=0)[0]:
            return None
        try:
            return ray.get(self.reference)
        except ray.exceptions.TaskCancelledError:
            return STOPPED
        except ray.exceptions.RayError:  # its workers were killed three times, or lost with their nodes
            return KILLED

    def ask_to_stop(self) -> None:
        self._cancel(force=False)

    def kill(self) -> None:
        self._cancel(force=True)

    def _cancel(self, force: bool) -> None:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.cancel(self.reference, force=force)


class Ray:
    def __init__(self, jobs: int | None):
        self.own = not ray.is_initialized()
        if self.own:
            _begin()
        self.at_once = jobs or MOST_QUEUED
        self.with_gpus = ray.cluster_resources().get("GPU", 0) > 0
        self.smallest = smallest()
        self.task = ray.remote(max_calls=1, max_retries=2)(lambda command: command())

    def room(self, gpu_gib: float) -> bool:
        return True  # the cluster has a queue

    def start(self, task: Task) -> RayJob:
        shares = -(-task.gpu_gib * SHARES // self.smallest) if self.smallest else SHARES
        share = min(1.0, shares / SHARES) if task.gpu_gib and self.with_gpus else 0
        needs = {"num_gpus": share, "num_cpus": task.threads, "name": task.name}
        return RayJob(self.task.options(**needs).remote(Command(task)))

    def close(self) -> None:
        if self.own:
            ray.shutdown()
