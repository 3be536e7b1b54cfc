"""A fork server: a process that has imported what every run imports, and forks a child for each run.

So torch, transformers and peft are imported once and not by every run. A child is a process of its own: it
crashes alone, and its memory goes back to the system with it. The server computes nothing, since forking a
process in which torch runs threads is unsafe. Linux alone: libraries of other systems do not stand a fork.
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
GONE = -signal.SIGKILL  # the code of children whose server is gone


@dataclass(eq=False)
class Forked:
    """A child of the server, as `subprocess.Popen` has it."""

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
    """The server as its parent has it; it ends, and all its children with it, when the parent does."""

    preloaded: Sequence[str] = PRELOADED
    _codes: dict[int, int] = field(default_factory=dict)  # of children that ended, by pid
    _told: list[int] = field(default_factory=list)  # children that were started and not asked for
    _rest: bytes = b""  # of an answer that was cut

    def __post_init__(self) -> None:
        # Threads are the children's matter; they say how many before torch has any.
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
        """`python -m module arguments` in a child that leads a process group; None where the server is gone.

        settings: environment variables beside the server's. log: what the output is appended to.
        """
        request: dict[str, object] = {
            "module": module,
            "arguments": list(arguments),
            "settings": dict(settings),
        }
        request |= {"log": str(log), "threads": threads}
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            return None
        while not self._told and not self._gone:
            self._listen(None)
        return Forked(self, self._told.pop()) if self._told else None

    def code(self, pid: int, wait: bool = False) -> int | None:
        """The exit code of a child, below 0 the signal that ended it; None while it goes on.

        wait: until anything has ended.
        """
        if pid not in self._codes and not self._gone:
            self._listen(None if wait else 0)
        return self._codes.get(pid, GONE if self._gone else None)

    def close(self) -> None:
        self._requests.close()
        self._process.wait()
        self._answers.close()

    def _listen(self, seconds: float | None) -> None:
        """Take what the server says within this time; None: until it says something."""
        if not select.select([self._answers], [], [], seconds)[0]:
            return
        said = os.read(self._answers.fileno(), 2**16)
        self._gone = not said
        *lines, self._rest = (self._rest + said).split(b"\n")
        for line in lines:
            pid, code = json.loads(line)
            if code is None:
                self._codes.pop(pid, None)  # numbers are given away again
                self._told.append(pid)
            else:
                self._codes[pid] = code


def serve(preloaded: Sequence[str]) -> None:
    """Answer requests until standard input closes; the whole life of the server.

    An answer is a line of JSON: a pid, and null where the child was started or the code that it ended with.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # nothing that an import prints may end up among the answers
    os.environ.pop(lifeline.VARIABLE, None)
    for module in preloaded:
        importlib.import_module(module)
    sys.stdout.flush()
    gc.freeze()  # so that a child's collector does not copy what it shares
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
    """Children that have ended, with their codes."""
    with contextlib.suppress(ChildProcessError):  # there is none
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found[0], os.waitstatus_to_exitcode(found[1])


def _lead_a_group(pid: int) -> None:
    """Called by the child and by the server, of whom nobody knows who comes first."""
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)


def _run(
    lifeline_end: int, module: str, arguments: list[str], settings: dict[str, str], log: str, threads: int
) -> None:
    """In a child: what `python -m` does; SystemExit where the module raises it."""
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
