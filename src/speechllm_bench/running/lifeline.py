"""Child processes that end with their parent, even where SIGKILL or a lost terminal ends the parent.

The parent holds one end of a pipe, and the child waits at the other end. The system closes the parent's end
when the parent ends. This works on Linux and macOS, needs no polling and cannot mistake another process for
the parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

import psutil

VARIABLE = "SPEECHLLM_BENCH_LIFELINE"  # file descriptor of the child's end
GRACE_SECONDS = 20  # between asking to stop and killing


def start(command: list[str], env: Mapping[str, str], **options) -> subprocess.Popen:
    """Start a process in its own session. If it calls `watch`, it ends with this process.

    options: those of subprocess.Popen.
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
    vars(process)["lifeline"] = os.fdopen(own_end, "wb")  # the end is closed with the Popen object
    return process


def watch(before: Callable[[], None] = lambda: None) -> None:
    """End this process and its descendants once its parent is gone, if `start` started it.

    before: called first. The processes get SIGTERM, and SIGKILL after a while.
    """
    descriptor = os.environ.pop(VARIABLE, None)
    if descriptor is None:
        return
    threading.Thread(target=_wait, args=(int(descriptor), before), daemon=True).start()


def keep_interrupts() -> None:
    """Install a hook that sends an interrupt again if it came in a callback from C code.

    Python only prints such a KeyboardInterrupt and then loses it.
    """
    if sys.unraisablehook is not sys.__unraisablehook__:
        return  # a test runner has installed its own hook

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
            end_tree(os.getpid(), GRACE_SECONDS)  # SIGTERM first: the main thread may be cleaning up


def end_tree(pid: int, grace: float) -> None:
    """End a process and all its descendants, which may be in other process groups.

    They get SIGTERM first, then SIGKILL. grace: seconds to wait after each signal.
    """
    for end in (psutil.Process.terminate, psutil.Process.kill):
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(pid)
            tree = [*parent.children(recursive=True), parent]
            for member in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    end(member)
            psutil.wait_procs(tree, timeout=grace)
