"""File locks of the operating system. The system releases the lock of a killed process.

A lock file holds the process that has the lock, or had it last, so that those who wait can name it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from speechllm_bench.errors import UserError
from speechllm_bench.storage import process

CANNOT_LOCK = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextlib.contextmanager
def held(file: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the exclusive lock on `file`. If another process holds it, call `waiting`, then wait.

    Raises UserError where the disk cannot lock or the file belongs to another user.
    """
    lock = acquired(file)
    if lock is None:
        waiting()
        lock = acquired(file, wait=True)
    assert lock, "a wait ends with the lock"
    try:
        yield
    finally:
        lock.release()


def acquired(file: Path, wait: bool = False) -> FileLock | None:
    """Return the lock on `file`, which the caller must release; None if another process holds it.

    wait: wait for the lock. Raises UserError as `held` does.
    """
    # Without `fallback_to_soft=False`, filelock uses a marker file on a disk without locks. A killed process
    # would never remove that file.
    lock = FileLock(file, fallback_to_soft=False, on_acquired=_sign)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return None
    except PermissionError:
        raise UserError(
            f"the lock {file} belongs to another user; share the folder by a group and a umask of 002, or "
            "let SPEECHLLM_BENCH_HOME name a folder of your own"
        ) from None
    except OSError as error:
        if error.errno not in CANNOT_LOCK:
            raise
        raise UserError(
            f"the disk that holds {file.parent} cannot lock files, so two processes could damage each "
            "other's results; let SPEECHLLM_BENCH_HOME name a folder on a disk that can"
        ) from None
    return lock


def is_held(file: Path) -> bool:
    """Return whether another process holds the lock on `file` at this moment."""
    if (lock := acquired(file)) is None:
        return True
    lock.release()
    return False


def holder(file: Path) -> str:
    """Return who holds the lock on `file`, as sentences name them. The lock must be held."""
    try:
        held_by = json.loads(file.read_text(encoding="utf-8"))
        gone = "" if process.alive(held_by) else ", which has ended and left a process that holds its lock,"
        return f"{process.named(held_by)}{gone}"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # it has not been written yet
        return "another process"


def _sign(descriptor: int) -> None:
    """Write this process into a lock file."""
    with contextlib.suppress(OSError):  # a full disk
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(process.own()).encode(), 0)
