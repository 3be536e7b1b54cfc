"""Child processes that end with their parent, however the parent ends: also by SIGKILL or a lost terminal.

The parent holds one end of a pipe and the child waits at the other. The system closes the parent's end with
the parent, which works on Linux and macOS, needs no polling and cannot take another process for the parent.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

import psutil

VARIABLE = "SPEECHLLM_BENCH_LIFELINE"  # the child's end, a file descriptor
GRACE_SECONDS = 20  # between asking to stop and killing


def start(command: list[str], env: Mapping[str, str], **options) -> subprocess.Popen:
    """A process in a session of its own that ends with this one, where it calls `watch`.

    `options` are those of subprocess.Popen.
    """
    child_end, own_end = os.pipe()
    try:
        process = subprocess.Popen(
            command,
            env={**env, VARIABLE: str(child_end)},
            pass_fds=(child_end,),
            start_new_session=True,
            **options,
        )
    except BaseException:
        os.close(own_end)
        raise
    finally:
        os.close(child_end)
    vars(process)["lifeline"] = os.fdopen(own_end, "wb")  # closed with the object
    return process


def watch(before: Callable[[], None] = lambda: None) -> None:
    """Where this process was started by `start`: end it, and all that it started, once its parent is gone.

    `before` is called first. SIGTERM comes before SIGKILL.
    """
    descriptor = os.environ.pop(VARIABLE, None)
    if descriptor is None:
        return
    threading.Thread(target=_wait, args=(int(descriptor), before), daemon=True).start()


def keep_interrupts() -> None:
    """An interrupt that comes while C code calls back is printed and lost: it is sent once more then."""
    if sys.unraisablehook is not sys.__unraisablehook__:
        return  # of a test runner

    def hook(unraisable) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = hook


def _wait(descriptor: int, before: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1):
            pass
        try:
            before()
        finally:
            _end()


def _end() -> None:
    """SIGTERM, and after a while SIGKILL, for this process: its main thread may be cleaning up."""
    end_tree(os.getpid(), GRACE_SECONDS)


def end_tree(pid: int, grace: float) -> None:
    """End a process and all below it, each of which may be a group of its own: SIGTERM, then SIGKILL."""
    for end in (psutil.Process.terminate, psutil.Process.kill):
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(pid)
            tree = [*parent.children(recursive=True), parent]
            for member in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    end(member)
            psutil.wait_procs(tree, timeout=grace)


def own() -> dict:
    """Facts that tell this process from all others; numbers alone are given away again."""
    return {"pid": os.getpid(), "born": psutil.Process().create_time(), "host": platform.node()}


def alive(process: dict) -> bool:
    """Whether a process that called itself so by `own` goes on; nobody can tell of another host: it does."""
    if process.get("host", platform.node()) != platform.node():
        return True
    try:
        return process.get("born") in (None, psutil.Process(process["pid"]).create_time())
    except psutil.NoSuchProcess:
        return False
