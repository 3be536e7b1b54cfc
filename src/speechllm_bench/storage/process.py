"""Which process wrote a file: its pid and host, and when its kernel started it.

The pid alone does not tell, because a system reuses pids. On Linux the start is counted in clock ticks since
boot. `psutil.Process.create_time` is of the wall clock, and changes when that is set.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil


def own() -> dict:
    """Return what identifies this process."""
    return {"pid": os.getpid(), "born": born(os.getpid()), **_system()}


def alive(process: dict) -> bool:
    """Return whether a process is alive. process: its `own()`.

    One of another host, or of another container on this host, cannot be seen from here and counts as alive.
    """
    here = _system()
    if any(process.get(name, value) != value for name, value in here.items()):
        return True
    try:
        return process.get("born") in (None, born(process["pid"]))
    except psutil.NoSuchProcess:
        return False


def named(process: dict) -> str:
    """Return a process as sentences name it."""
    return f"process {process['pid']} of {process['host']}"


def born(pid: int) -> str | float:
    """Return when a process was started. Raises psutil.NoSuchProcess where there is none."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"
    except OSError:  # another system than Linux, or no such process
        return psutil.Process(pid).create_time()


def _system() -> dict:
    """Return the host, and the namespace of its pids: two containers may have the name of one host."""
    try:
        return {"host": platform.node(), "namespace": os.stat("/proc/self/ns/pid").st_ino}
    except OSError:
        return {"host": platform.node(), "namespace": None}
