"""A fork server: a process that has imported the modules of a run, and forks a child for each run.

So torch, transformers and peft are imported once and not in every run. A child is a process of its own: a
crash affects no other run, and its memory is freed when it ends. The server computes nothing, because forking
a process with running torch threads is unsafe. It is used on Linux only, because system libraries elsewhere
are not fork-safe.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechllm_bench.running import lifeline

PRELOADED = (
    "torch",
    "peft",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.models.whisper.modeling_whisper",
    "speechllm_bench.commands.arguments",
    "speechllm_bench.running.single",
    "speechllm_bench.running.jobs",
    "speechllm_bench.training.stages",
)
POLL_SECONDS = 0.1
GONE = -signal.SIGKILL  # exit code of children whose server is gone


@dataclass(eq=False)
class Forked:
    """A child of the server, with the interface of `subprocess.Popen` that the executor uses."""

    server: ForkServer
    pid: int

    def poll(self) -> int | None:
        return self.server.code(self.pid)

    def wait(self) -> int:
        while (code := self.server.code(self.pid, wait=True)) is None:
            pass
        return code


@dataclass(eq=False)
class ForkServer:
    """The parent's handle of the server. The server and all its children end with the parent."""

    preloaded: Sequence[str] = PRELOADED
    _codes: dict[int, int] = field(default_factory=dict)  # exit codes by pid, of ended children
    _told: list[int] = field(default_factory=list)  # pids of started children that `start` has not returned
    _rest: bytes = b""  # an incomplete line of an answer

    def __post_init__(self) -> None:
        # One thread in the server; each child sets its own number before torch starts threads.
        env = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = lifeline.start(
            [sys.executable, "-m", __name__, *self.preloaded],
            env | {"TOKENIZERS_PARALLELISM": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert self._process.stdin and self._process.stdout, "both are pipes"
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._gone = False

    def start(
        self, module: str, arguments: Sequence[str], settings: Mapping[str, str], log: Path, threads: int
    ) -> Forked | None:
        """Run `python -m module arguments` in a child that leads a process group; None if the server is gone.

        settings: environment variables in addition to the server's. log: file to which the output is
        appended.
        """
        request: dict = {"module": module, "arguments": list(arguments), "settings": dict(settings)}
        request |= {"log": str(log), "threads": threads}
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            return None
        while not self._told and not self._gone:
            self._listen(None)
        return Forked(self, self._told.pop()) if self._told else None

    def code(self, pid: int, wait: bool = False) -> int | None:
        """Return the exit code of a child, or minus the signal that ended it; None while it runs.

        wait: block until the server reports something.
        """
        if pid not in self._codes and not self._gone:
            self._listen(None if wait else 0)
        return self._codes.get(pid, GONE if self._gone else None)

    def close(self) -> None:
        self._requests.close()
        self._process.wait()
        self._answers.close()

    def _listen(self, seconds: float | None) -> None:
        """Read the server's answers. seconds: how long to wait for one; None waits without a limit."""
        if not select.select([self._answers], [], [], seconds)[0]:
            return
        said = os.read(self._answers.fileno(), 2**16)
        self._gone = not said
        *lines, self._rest = (self._rest + said).split(b"\n")
        for line in lines:
            pid, code = json.loads(line)
            if code is None:
                self._codes.pop(pid, None)  # the system reuses pids
                self._told.append(pid)
            else:
                self._codes[pid] = code


def serve(preloaded: Sequence[str]) -> None:
    """Answer requests until standard input closes. This is the main loop of the server.

    An answer is a line of JSON: a pid, and null for a started child or the exit code of an ended one.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # so that output of imports does not mix with the answers
    os.environ.pop(lifeline.VARIABLE, None)
    for module in preloaded:
        importlib.import_module(module)
    sys.stdout.flush()
    gc.freeze()  # so that garbage collection in a child does not copy shared memory
    child_end, own_end = os.pipe()
    while True:
        ready, _, _ = select.select([0], [], [], POLL_SECONDS)
        for pid, code in _ended():
            answers.write(json.dumps([pid, code]) + "\n")
        if not ready:
            continue
        if not (line := sys.stdin.buffer.readline()):
            return
        if (pid := os.fork()) == 0:
            os.close(own_end)
            answers.close()
            return _run(child_end, **json.loads(line))
        _lead_a_group(pid)
        answers.write(json.dumps([pid, None]) + "\n")


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):  # there are no children
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found[0], os.waitstatus_to_exitcode(found[1])


def _lead_a_group(pid: int) -> None:
    """Make `pid` lead a process group. Child and server both call this, because either may be first."""
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)


def _run(
    lifeline_end: int, module: str, arguments: list[str], settings: dict[str, str], log: str, threads: int
) -> None:
    """Do in a child what `python -m` does. Raises SystemExit where the module does."""
    _lead_a_group(0)
    os.environ |= settings | {lifeline.VARIABLE: str(lifeline_end)}
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(sys.argv[1:])
