"""The fork server: children of one process that has imported what they need."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from speechllm_bench.running.executors.fork_server import GONE, ForkServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is a fork server on Linux alone")

CHILD = """
import os, signal, sys, time
print(os.environ["TOLD"], os.getpid() == os.getpgrp(), "decimal" in sys.modules, flush=True)
if sys.argv[1] == "fail":
    raise ValueError("it fails")
if sys.argv[1] == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "last":
    from speechllm_bench.running import lifeline
    lifeline.watch(lambda: open(sys.argv[2], "w").close())
    print("watches", flush=True)
    time.sleep(60)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server that has imported `decimal` and can run the module `child`."""
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    server = ForkServer(["decimal"])
    yield server
    server.close()


def start(server: ForkServer, log: Path, *arguments: str):
    return server.start("child", arguments, {"TOLD": "a word"}, log, 1)


def test_each_child_ends_by_itself_and_a_crash_takes_no_other_with_it(server, tmp_path):
    logs = [tmp_path / name for name in ("well", "busy", "fail", "crash", "again")]
    given = ("0", "75", "fail", "crash", "0")
    children = [start(server, log, code) for log, code in zip(logs, given, strict=True)]
    assert [child.wait() for child in children] == [0, 75, 1, -signal.SIGKILL, 0]
    assert len({child.pid for child in children}) == 5
    assert all(log.read_text().startswith("a word True True\n") for log in logs)
    assert logs[2].read_text().endswith("ValueError: it fails\n")


def test_children_end_with_their_server(server, tmp_path):
    mark = tmp_path / "ended"
    child = start(server, tmp_path / "log", "last", str(mark))
    deadline = time.monotonic() + 60
    log = tmp_path / "log"
    while not (log.is_file() and "watches" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert child.poll() is None
    os.kill(server._process.pid, signal.SIGKILL)
    assert child.wait() == GONE
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert mark.exists()
    server._process.wait()
    assert start(server, tmp_path / "log", "0") is None
