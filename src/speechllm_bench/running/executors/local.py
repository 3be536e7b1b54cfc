"""The executor for this machine. Each job is a process group of its own and sees one GPU, if there are any.

Jobs of Python modules are children of one fork server, which has imported their packages. Several jobs share
a GPU as long as they fit into its memory. A job that needs more than any GPU has gets one GPU for itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field

from speechllm_bench.running import lifeline
from speechllm_bench.running.executors import Task
from speechllm_bench.running.executors.fork_server import Forked, ForkServer
from speechllm_bench.running.executors.machine import Gpu, at_once, gpus


@dataclass(eq=False)
class LocalJob:
    process: subprocess.Popen | Forked
    gpu: Gpu | None
    gpu_gib: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def code(self) -> int | None:
        return self.process.poll()

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


@dataclass
class Local:
    jobs: int | None = None
    gpus: list[Gpu] = field(default_factory=gpus)
    _started: list[LocalJob] = field(default_factory=list)
    _server: ForkServer | None = None

    @property
    def with_gpus(self) -> bool:
        return bool(self.gpus)

    @property
    def at_once(self) -> int:
        return self.jobs or at_once(self.gpus)

    def room(self, gpu_gib: float) -> bool:
        return not self.gpus or self._gpu(gpu_gib) is not None

    def start(self, task: Task) -> LocalJob:
        gpu = self._gpu(task.gpu_gib) if task.gpu_gib else None
        seen = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu.name}
        process = self._forked(task, task.settings | seen) or _started(task, task.settings | seen)
        self._started.append(LocalJob(process, gpu, task.gpu_gib))
        return self._started[-1]

    def close(self) -> None:
        if self._server:
            self._server.close()

    def _forked(self, task: Task, settings: dict[str, str]) -> Forked | None:
        """Start the task as a child of the fork server; None if the task or machine does not allow that.

        It needs Linux, a log file and a command `python -m ...`, and a server that could load its modules.
        """
        python, option, *rest = [*task.command, "", ""]
        if sys.platform != "linux" or task.log is None or (python, option) != (sys.executable, "-m"):
            return None
        self._server = self._server or ForkServer()
        module, *arguments = rest[:-2]
        return self._server.start(module, arguments, settings, task.log, task.threads)

    def _gpu(self, gib: float) -> Gpu | None:
        """Return the GPU with the most free memory if the job fits, else a GPU without jobs, else None."""
        self._started = [job for job in self._started if job.code() is None]
        taken = {gpu: [job.gpu_gib for job in self._started if job.gpu is gpu] for gpu in self.gpus}
        best = max(self.gpus, key=lambda gpu: gpu.gib - sum(taken[gpu]), default=None)
        fits = best and (not taken[best] or sum(taken[best]) + gib <= best.gib)
        return best if fits else next((gpu for gpu in self.gpus if not taken[gpu]), None)


def _started(task: Task, settings: dict[str, str]) -> subprocess.Popen:
    """Start a process that ends with this one."""
    with open(task.log, "a", encoding="utf-8") if task.log else contextlib.nullcontext() as output:
        told = {"stdout": output, "stderr": subprocess.STDOUT if output else None}
        return lifeline.start(task.command, os.environ | settings, stdin=subprocess.DEVNULL, **told)
