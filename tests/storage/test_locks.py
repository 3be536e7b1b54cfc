"""Who holds a lock: named to those who wait, on this host and others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from speechllm_bench.storage import locks, process

LEFT = ", which has ended and left a process that holds its lock,"
HOLDS = """
import sys, time
from pathlib import Path
from speechllm_bench.storage import locks
lock = locks.acquired(Path(sys.argv[1]))
print("holds", flush=True)
time.sleep(600)
"""


def test_a_holder_that_is_killed_holds_nothing(tmp_path):
    file = tmp_path / "lock"
    other = subprocess.Popen([sys.executable, "-c", HOLDS, file], stdout=subprocess.PIPE)
    assert other.stdout and other.stdout.readline() == b"holds\n"
    assert locks.is_held(file)
    assert locks.holder(file) == process.named(process.own() | {"pid": other.pid})
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert not locks.is_held(file)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"host": "node07"}, "process {pid} of node07"),
        (
            {"born": "before"},
            "process {pid} of {host}, which has ended and left a process that holds its lock,",
        ),
        ("", "another process"),
        ("[]", "another process"),
        ("{}", "another process"),
    ],
)
def test_a_holder_is_named_as_its_file_tells_it(tmp_path: Path, written, told):
    file, own = tmp_path / "lock", process.own()
    with locks.held(file):
        assert locks.holder(file) == process.named(own)
        file.write_text(written if isinstance(written, str) else json.dumps(own | written))
        assert locks.holder(file) == told.format(**own)
