"""`Command`: a command line as a function that can be sent to another machine."""

from __future__ import annotations

import os
import subprocess
import time

from speechllm_bench.running import lifeline
from speechllm_bench.running.executors import Task
from speechllm_bench.storage import paths

GRACE_SECONDS = 60  # time to write a checkpoint
LOOK_SECONDS = 0.2  # between two looks whether the process has ended
CARRIED = ("SPEECHLLM_BENCH_", "HF_")  # prefixes of the variables with the places of results, data and models


class Command:
    """Runs the command line when called, and returns its exit code. The process ends with the caller."""

    def __init__(self, task: Task):
        named = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
        named.pop(lifeline.VARIABLE, None)  # valid in this process only
        self.settings = {**named, "SPEECHLLM_BENCH_HOME": str(paths.home()), **task.settings}
        self.line, self.log, self.folder = list(task.command), str(task.log), os.getcwd()
        self.process: subprocess.Popen | None = None

    def __getstate__(self) -> dict:
        return vars(self) | {"process": None}

    def __call__(self) -> int:
        with open(self.log, "a", encoding="utf-8") as output:
            told = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
            self.process = lifeline.start(self.line, os.environ | self.settings, cwd=self.folder, **told)
        try:
            while (code := self.process.poll()) is None:  # Ray's stop sets a flag and interrupts no wait
                time.sleep(LOOK_SECONDS)
            return code
        except BaseException:  # the caller is being stopped
            self.stop()
            raise

    def stop(self) -> None:
        """Send SIGTERM, at which a run writes a checkpoint, then SIGKILL to what is left."""
        if self.process and self.process.poll() is None:
            lifeline.end_tree(self.process.pid, GRACE_SECONDS)
