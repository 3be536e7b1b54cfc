"""Executors: one interface, with a backend for this machine, for Ray and for Slurm.

An executor starts command lines and reports their exit codes. The runner decides which run starts when. Every
command line is one of this suite, so a run is the same on every executor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from speechllm_bench.errors import UserError

EXECUTORS = ("local", "ray", "slurm")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
KILLED, STOPPED = -9, 130  # exit codes of jobs whose own code is lost
MOST_QUEUED = 1000  # default maximum of jobs in a cluster, including waiting ones


@dataclass(frozen=True)
class Task:
    """A command line and the resources that it needs."""

    name: str
    command: list[str]
    log: Path | None  # its output is appended to this file; None: the terminal of this process
    threads: int
    gpu_gib: float  # GiB of GPU memory; 0: no GPU
    minutes: int  # time limit

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables in addition to those of this process."""
        return {name: str(self.threads) for name in THREAD_VARIABLES} | {"TOKENIZERS_PARALLELISM": "false"}


class Job(Protocol):
    """A task that was started."""

    @property
    def pid(self) -> int | None:
        """The process id, if the job is a child of this process; else None."""

    def code(self) -> int | None:
        """Return the exit code, or minus the signal that ended the job; None while it runs or is queued."""

    def ask_to_stop(self) -> None:
        """Send SIGTERM, at which a run writes a checkpoint."""

    def kill(self) -> None:
        """Kill the process and all that it started."""


class Executor(Protocol):
    """A place for runs. `close` releases its resources; the jobs must have been stopped before."""

    @property
    def at_once(self) -> int:
        """The largest number of jobs at a time, including jobs that wait in a queue."""

    @property
    def with_gpus(self) -> bool:
        """Whether jobs get GPUs, according to the memory that they need."""

    def room(self, gpu_gib: float) -> bool:
        """Return whether a job that needs this much GPU memory (GiB) can start now."""

    def start(self, task: Task) -> Job: ...

    def close(self) -> None: ...


class Queue:
    """What executors with a queue of their own share: there is room for every job, which may wait."""

    def __init__(self, jobs: int | None):
        self.at_once = jobs or MOST_QUEUED

    def room(self, gpu_gib: float) -> bool:
        return True


def executor(name: str, jobs: int | None = None) -> Executor:
    """Return the executor of a name in `EXECUTORS`.

    jobs: the largest number of jobs at a time; None is as many as there is room for. Raises UserError where
    the executor's package is not installed.
    """
    try:
        if name == "ray":
            from speechllm_bench.running.executors.on_ray import Ray

            return Ray(jobs)
        if name == "slurm":
            from speechllm_bench.running.executors.on_slurm import Slurm

            return Slurm(jobs)
    except ModuleNotFoundError as error:
        raise UserError(
            f"the runner '{name}' needs the package {error.name}; `pip install 'speechllm-bench[{name}]'`"
        ) from None
    from speechllm_bench.running.executors.local import Local

    return Local(jobs)
