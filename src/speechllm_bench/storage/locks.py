"""File locks of the operating system. The system releases the lock of a killed process."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from speechllm_bench.errors import UserError

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
    lock = FileLock(file, fallback_to_soft=False)
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
