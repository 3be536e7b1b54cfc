"""Run folders: digests, atomic writes, locks, and the record of the environment of a result.

A folder is written under a temporary name in the same parent and renamed when it is complete, so no reader
sees an incomplete run. A lock makes sure that two processes do not make the same result twice.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from speechllm_bench.errors import UserError
from speechllm_bench.storage import leftovers, locks, paths

NUMERICS_VERSION = 3
"""Raised by hand when a code change alters the numbers of an unchanged config (protocol, rule 16)."""

DELETE_FOLDER = "delete its folder and run again"
"""The remedy for a faulty file of a run or a stage, because only the whole folder can be made again."""

RECORD_VERSION = 1
LIBRARIES = ("torch", "transformers", "peft", "numpy", "tokenizers", "safetensors", "datasets")


def digest(*parts) -> str:
    """Return 16 hex digits that identify plain-JSON parts by content."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str, lasting: bool = True) -> None:
    """Write a file atomically: it has the new text, or is unchanged. `lasting` as in `write_bytes`."""
    write_bytes(path, text.encode(), lasting)


def write_bytes(path: Path, content: bytes, lasting: bool = True) -> None:
    """Write a file atomically.

    lasting: sync the content to disk before the rename, so that a power cut leaves no empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = leftovers.temporary(path)
    try:
        temporary.write_bytes(content)
        if lasting:
            _sync(temporary)
        os.replace(temporary, path)
        if lasting:
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, record: dict, lasting: bool = True) -> None:
    write_text(path, json.dumps(record, indent=1, allow_nan=False) + "\n", lasting)


def _sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk (fsync)."""
    with contextlib.suppress(PermissionError):  # Windows cannot open folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system has no fsync
                raise
        finally:
            os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(parent) / name)
        _sync(Path(parent))


def read_json(path: Path, remedy: str | None = None) -> dict:
    """Read a JSON file. Raises UserError, with the remedy, where it is missing or damaged.

    NaN and infinity count as damage: JSON has no such numbers, and the suite writes none.
    remedy: what the user should do; None is for a file that the suite makes again.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_finite)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {remedy or 'run again'}") from None
    except IsADirectoryError:
        raise UserError(
            f"{path} is a folder and should be a file; {remedy or 'move it away and run again'}"
        ) from None
    except (ValueError, RecursionError):
        raise UserError(
            f"{path} is not readable JSON; {remedy or 'delete this file and run again'}"
        ) from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # such as 1e999
        raise ValueError(text)
    return number


def make_home() -> None:
    """Make the home folder of cache and results if it is missing. Raises UserError if it is not writable."""
    home = paths.home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not os.access(home, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UserError(
            f"results and cache cannot be kept in {home} ({error.strerror}); "
            "let SPEECHLLM_BENCH_HOME name a folder that can be written to"
        ) from None


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block succeeds, and is deleted when it fails.

    Its mode follows the umask, so that a group can share it. All files are synced to disk before the rename.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = leftovers.temporary(target)
    old = temporary.with_suffix(".old")
    temporary.mkdir()
    try:
        yield temporary
        _sync_tree(temporary)
        if target.exists():  # moved away, not deleted: a stop at any point leaves a whole folder
            os.replace(target, old)
        os.replace(temporary, target)
        _sync(target.parent)
    finally:
        if old.exists() and not target.exists():
            os.replace(old, target)
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


def lock(target: Path, waiting: Callable[[], None] = lambda: None) -> contextlib.AbstractContextManager[None]:
    """Hold the exclusive lock on `target`. If another process holds it, call `waiting`, then wait.

    The system releases the lock of a killed process.
    """
    return locks.held(lock_file(target), waiting)


def locked(target: Path) -> bool:
    """Return whether another process holds the lock on `target` at this moment."""
    return locks.is_held(lock_file(target))


def holder(target: Path) -> str:
    """Return the process that holds the lock on `target`, as sentences name it."""
    return locks.holder(lock_file(target))


def lock_file(target: Path) -> Path:
    """Return the lock file of `target`. Its name has a digest of the path, relative to the home folder.

    What is linked from the cache of another home has its lock there, for the processes of both homes.
    """
    place, home = target.resolve(), paths.home()
    if not place.is_relative_to(home):
        home = next((folder.parent for folder in place.parents if folder.name == paths.cache().name), home)
    key = place.relative_to(home) if place.is_relative_to(home) else place
    return home / paths.cache().name / "locks" / f"{target.name}-{digest(key.as_posix())}.lock"


def remove(folder: Path) -> None:
    """Delete a folder, which may be missing."""
    shutil.rmtree(folder, ignore_errors=True)


def environment() -> dict:
    """Return the environment of a result: versions, machine and commit. It is never part of a digest."""
    return {
        "record_version": RECORD_VERSION,
        "numerics_version": NUMERICS_VERSION,
        "python": platform.python_version(),
        "libraries": {name: installed_version(name) for name in LIBRARIES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        **_revision(),
    }


def peak_memory_mib() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 if sys.platform != "darwin" else 1024) / 1024


def installed_version(name: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _revision() -> dict:
    """Return the commit and whether there are uncommitted changes; None without git or a repository."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != paths.PROJECT.resolve():  # unpacked inside another repository
        return {"commit": None, "uncommitted_changes": None}
    changes = _git("status", "--porcelain", "--untracked-files=normal", "--", "src", "experiments", "zoo")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": None if changes is None else bool(changes),
    }


OTHER_REPOSITORY = {"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"}
"""Variables, set in git hooks for example, with which git would answer for another repository."""


def _git(*arguments: str) -> str | None:
    env = {name: value for name, value in os.environ.items() if name not in OTHER_REPOSITORY}
    how: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "timeout": 10}
    try:
        answer = subprocess.run(["git", *arguments], cwd=paths.PROJECT, env=env, **how)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
