"""Which process wrote a file, where pids are reused, clocks are set, and several hosts share a disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from speechllm_bench.storage import process

TELLS = "import json; from speechllm_bench.storage import process; print(json.dumps(process.own()))"


@pytest.fixture
def ended() -> dict:
    """A process that has ended."""
    told = subprocess.run([sys.executable, "-c", TELLS], capture_output=True, check=True, text=True).stdout
    return json.loads(told)


def test_a_process_is_alive_until_it_ends(ended):
    assert process.alive(process.own()) and not process.alive(ended)
    assert process.named(ended) == f"process {ended['pid']} of {ended['host']}"


def test_a_number_that_another_process_has_now_is_not_the_same_process():
    assert not process.alive(process.own() | {"born": "boot 1"})


def test_a_wall_clock_that_is_set_later_changes_no_process(monkeypatch):
    before, told = process.own(), psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: told(self) + 3600)
    assert process.own() == before and process.alive(before)


@pytest.mark.parametrize("place", [{"host": "node07"}, {"namespace": 1}])
def test_what_cannot_be_seen_from_here_counts_as_alive(ended, place):
    assert process.alive(ended | place)


def test_a_system_without_proc_has_the_clock_of_psutil(ended, monkeypatch):
    def lacks(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", lacks)
    monkeypatch.setattr(process.os, "stat", lacks)
    own = process.own()
    assert own["born"] == psutil.Process().create_time() and own["namespace"] is None
    assert process.alive(own) and not process.alive(own | {"pid": ended["pid"]})
