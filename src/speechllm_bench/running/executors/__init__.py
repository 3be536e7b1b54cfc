"""Executors: where runs are executed. One interface, with a backend each for this machine, Ray and Slurm.

An executor starts command lines and says how they ended; which runs are started when is the runner's matter.
Every command line is the suite's own, so that a run is the same wherever it is executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from speechllm_bench.errors import UserError

EXECUTORS = ("local", "ray", "slurm")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """A command line with what it needs."""

    name: str
    command: list[str]
    log: Path | None  # the file that its output is appended to; None: the terminal of this process
    threads: int
    gpu_gib: float  # of GPU memory; 0: no GPU
    minutes: int  # after which it is stopped

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables beside those of this process."""
        return {name: str(self.threads) for name in THREAD_VARIABLES} | {"TOKENIZERS_PARALLELISM": "false"}


class Job(Protocol):
    """A task that was started."""

    @property
    def pid(self) -> int | None:
        """The number of its process, where that is a child of this one."""

    def code(self) -> int | None:
        """The exit code, below 0 the signal that ended it; None while it goes on or waits for its turn."""

    def ask_to_stop(self) -> None:
        """SIGTERM, on which a run keeps a checkpoint."""

    def kill(self) -> None:
        """The end of the process and of all that it started."""


class Executor(Protocol):
    """A place for runs. `close` gives back what it holds; jobs are stopped before."""

    @property
    def at_once(self) -> int:
        """How many jobs may be there at a time, those included that wait for their turn."""

    @property
    def with_gpus(self) -> bool:
        """Whether jobs are given GPUs, by their need of memory."""

    def room(self, gpu_gib: float) -> bool:
        """Whether a job with this need of GPU memory can be started now."""

    def start(self, task: Task) -> Job: ...

    def close(self) -> None: ...


def executor(name: str, jobs: int | None = None) -> Executor:
    """The executor of a name in `EXECUTORS`; jobs: at most so many at a time; None: as many as there
    is room for.

    UserError where the package that it needs is not installed.
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
