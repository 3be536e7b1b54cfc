"""The executor for Ray. Each job is a Ray task that runs the same command line as on other executors.

`RAY_ADDRESS` names a cluster; without it Ray starts on this machine. A killed worker is replaced up to twice,
and its run resumes from its checkpoint. All nodes must see the home folder at the same path.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, replace

import ray

from speechllm_bench.errors import UserError
from speechllm_bench.running.executors import KILLED, STOPPED, Queue, Task
from speechllm_bench.running.executors.command import Command
from speechllm_bench.running.executors.machine import smallest_gpu

SHARES = 20  # a job gets a multiple of 1/20 of a GPU


def smallest(nodes: list[dict]) -> float:
    """Ask every node; return the GiB of the smallest GPU, 0 if one of them does not tell it."""
    ask = ray.remote(num_cpus=0)(smallest_gpu)
    places = [{f"node:{node['NodeManagerAddress']}": 0.001} for node in nodes]
    return min(ray.get([ask.options(resources=place).remote() for place in places]), default=0.0)


@dataclass
class RayJob:
    reference: ray.ObjectRef
    pid: int | None = None

    def code(self) -> int | None:
        try:
            return ray.get(self.reference) if ray.wait([self.reference], timeout=0)[0] else None
        except ray.exceptions.TaskCancelledError:
            return STOPPED
        except ray.exceptions.RayError:  # its workers were killed three times, or lost with their nodes
            return KILLED

    def ask_to_stop(self, force: bool = False) -> None:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.cancel(self.reference, force=force)

    def kill(self) -> None:
        self.ask_to_stop(force=True)


class Ray(Queue):
    def __init__(self, jobs: int | None):
        super().__init__(jobs)
        self.own = not ray.is_initialized()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        at_stop = signal.getsignal(signal.SIGTERM)
        try:
            if self.own:
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # for a node that starts slowly Ray raises no class of its own
            said = f"{os.environ.get('RAY_ADDRESS') or 'this machine'} ({str(error).partition('.')[0]})"
            raise UserError(f"Ray does not answer at {said}; correct RAY_ADDRESS, or start again") from None
        signal.signal(signal.SIGTERM, at_stop)  # Ray's own ends this process before its jobs are stopped
        nodes = [node for node in ray.nodes() if node["Resources"].get("GPU")]
        self.with_gpus, self.smallest = bool(nodes), smallest(nodes)
        self.task = ray.remote(max_calls=1, max_retries=2)(lambda command: command())

    def start(self, task: Task) -> RayJob:
        shares = -(-task.gpu_gib * SHARES // self.smallest) if self.smallest else SHARES
        share = min(1.0, shares / SHARES) if task.gpu_gib else 0
        most = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes())  # of one node
        task = replace(task, threads=max(1, min(task.threads, most)))  # a larger task would wait for ever
        needs = {"num_gpus": share, "num_cpus": task.threads, "name": task.name}
        return RayJob(self.task.options(**needs).remote(Command(task)))

    def close(self) -> None:
        if self.own:
            ray.shutdown()
