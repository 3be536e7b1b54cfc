"""The executor for Slurm, through submitit. `sbatch` submits the same command line as on other executors.

Slurm itself reads further settings of a cluster (partition, account, constraints) from SBATCH_PARTITION,
SBATCH_ACCOUNT and the like. A job that is preempted or out of time is queued again and resumes from its
checkpoint. All nodes must see the home folder at the same path.
"""

from __future__ import annotations

import contextlib
import subprocess
import time

import submitit
from submitit.helpers import DelayedSubmission

from speechllm_bench.running.executors import KILLED, STOPPED, Queue, Task
from speechllm_bench.running.executors.command import Command
from speechllm_bench.storage import paths

POLL_SECONDS = 5  # between two queries to Slurm
ENDED = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL"}


class Requeued(Command):
    def checkpoint(self) -> DelayedSubmission:
        """Stop and requeue the job. submitit calls this before Slurm preempts the job or its time is over."""
        self.stop()
        return DelayedSubmission(self)


class SlurmJob:
    pid = None

    def __init__(self, job: submitit.Job):
        self.job, self._looked = job, 0.0
        self._code: int | None = None

    def code(self) -> int | None:
        if self._code is None and time.monotonic() - self._looked > POLL_SECONDS:
            self._looked = time.monotonic()
            left = self.job.paths.result_pickle.exists()
            code = None if not left else 1 if self.job.exception() else self.job.result()
            if code not in (None, STOPPED):
                self._code = code
            elif self.job.watcher.get_state(self.job.job_id, mode="force").split()[0] in ENDED:
                self._code = code or KILLED  # cancelled, lost with its node, out of memory
        return self._code

    def ask_to_stop(self) -> None:
        self._cancel("--signal=TERM", "--full")

    def kill(self) -> None:
        self._cancel()

    def _cancel(self, *options: str) -> None:
        with contextlib.suppress(OSError):
            subprocess.run(["scancel", *options, str(self.job.job_id)], capture_output=True, check=False)


class Slurm(Queue):
    with_gpus = True

    def start(self, task: Task) -> SlurmJob:
        submit = submitit.SlurmExecutor(folder=paths.cache() / "slurm", max_num_timeout=10)
        needs = {"gpus_per_node": 1} if task.gpu_gib else {}
        name = task.name.replace(" ", "_")
        submit.update_parameters(job_name=name, time=task.minutes, cpus_per_task=task.threads, **needs)
        return SlurmJob(submit.submit(Requeued(task)))

    def close(self) -> None: ...
