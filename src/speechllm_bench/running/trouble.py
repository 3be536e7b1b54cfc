"""Wants of a machine, each told in one sentence: disk, memory, the right to write."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from speechllm_bench.storage import paths

NO_MEMORY = re.compile(
    r"allocate memory|out of memory|bad_alloc|os error 12\b|failed to map segment|can't start new thread",
    re.I,
)
"""How torch, safetensors, the loader of shared libraries and Python say that memory is short."""


def sentence(error: Exception) -> str | None:
    """The sentence in place of a traceback; None: it is no want of the machine."""
    number = error.errno if isinstance(error, OSError) else None
    file = error.filename if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        where = file or paths.home()  # a write that fails does not say of what file
        return f"no space left on the disk ({where}); make room and start again, finished runs stay"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) and file:
        return _forbidden(Path(str(file)))
    if isinstance(error, MemoryError) or number == errno.ENOMEM or NO_MEMORY.search(str(error)):
        told = " ".join(str(error).split())[:200] or type(error).__name__
        return (
            f"memory is short ({told}); raise the limit (ulimit -v, a container's), end other programs, or "
            "start with fewer --jobs; finished runs stay"
        )
    return None


def _forbidden(file: Path) -> str | None:
    """None for a file that is not of the home: that would be a mistake of this suite."""
    place, home = file.absolute(), paths.home()
    if place != home and home not in place.parents:
        return None
    return (
        f"{place.parent} belongs to another user or cannot be written to; share {home} by a group and a "
        "umask of 002, or let SPEECHLLM_BENCH_HOME name a folder of your own"
    )
