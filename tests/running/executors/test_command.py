from __future__ import annotations

import _thread
import signal
import sys
import threading
import time

import psutil
import pytest

from speechllm_bench.running.executors import Task
from speechllm_bench.running.executors.command import Command


def test_a_stop_that_only_sets_a_flag_ends_the_process(suite, tmp_path):
    """As Ray stops a task: `interrupt_main` sends no signal, so a wait in the system would go on."""
    pid, before = tmp_path / "pid", signal.signal(signal.SIGINT, signal.default_int_handler)
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(20)"

    def stop():
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.05)
        _thread.interrupt_main()

    threading.Thread(target=stop).start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            Command(Task("t", [sys.executable, "-c", code], tmp_path / "log", 1, 0, 1))()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 15 and not psutil.pid_exists(int(pid.read_text()))
