"""Problems of the machine, each reported in one sentence: full disk, low memory, no write permission, and a
file in the place of a folder.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from speechllm_bench.storage import paths

NO_MEMORY = re.compile(
    r"allocate memory|out of memory|bad_alloc|os error 12\b|failed to map segment|can't start new thread",
    re.I,
)
"""Error texts of torch, safetensors, the shared-library loader and Python for too little memory."""


def sentence(error: Exception) -> str | None:
    """Return the sentence to show instead of a traceback; None if the error is no problem of the machine."""
    number = error.errno if isinstance(error, OSError) else None
    file, target = (error.filename, error.filename2) if isinstance(error, OSError) else (None, None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        where = file or paths.home()  # a failed write does not name its file
        return f"no space left on the disk ({where}); make room and start again, finished runs stay"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) and file:
        return _forbidden(Path(str(file)))
    if number in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR) and file:
        return _in_the_way(Path(str(target or file)), number == errno.EISDIR)
    # Some libraries hide the loader's error behind one of their own.
    if error.__context__ and NO_MEMORY.search(str(error.__context__)):
        return sentence(MemoryError(str(error.__context__)))
    if isinstance(error, MemoryError) or number == errno.ENOMEM or NO_MEMORY.search(str(error)):
        told = " ".join(str(error).split())[:200] or type(error).__name__
        return (
            f"memory is short ({told}); raise the limit (ulimit -v, a container's), end other programs, or "
            "start with fewer --jobs; finished runs stay"
        )
    return None


def _in_the_way(path: Path, folder: bool) -> str | None:
    """Return the sentence for a file where a folder is needed, or the reverse; None outside the home."""
    if not _at_home(path):
        return None
    if folder:
        return f"{path} is a folder, and a file is needed in its place; move it away and start again"
    found = next((place for place in (path, *path.parents) if place.is_file()), path)
    return f"{found} is a file, and a folder is needed in its place; move it away and start again"


def _at_home(file: Path) -> bool:
    return paths.home() in (file.absolute(), *file.absolute().parents)


def _forbidden(file: Path) -> str | None:
    """Return the sentence for a file without permission; None outside the home, where it would be a bug."""
    if not _at_home(file):
        return None
    place = file.absolute().parent
    return (
        f"{place} belongs to another user or cannot be written to; share {paths.home()} by a "
        "group and a umask of 002, or let SPEECHLLM_BENCH_HOME name a folder of your own"
    )
