"""Temporary files and folders with a known owner, so that those of a killed process are found and removed.

A process that writes holds the lock `.cache/owners/<token>.lock` as long as it lives. The names of its
temporaries contain the token, and `<token>.jsonl` next to the lock lists their folders. A later process that
gets the lock knows that the owner is gone, even if the owner ran on another host.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from speechllm_bench.errors import UserError
from speechllm_bench.storage import locks, paths

_COUNT = itertools.count()
_GUARD = threading.Lock()


class _Owner:
    """This process as the owner of temporaries, in the cache of one home folder."""

    def __init__(self, folder: Path) -> None:
        self.process, self.token = os.getpid(), secrets.token_hex(6)
        self.file = folder / f"{self.token}.lock"
        self.folders: set[Path] = set()
        try:
            self.lock: FileLock | None = locks.acquired(self.file)
        except (OSError, UserError):
            self.lock = None  # no locks on this disk, or another user's cache: nothing is swept
        atexit.register(self._end)

    def use(self, folder: Path) -> None:
        """Record in the journal that a temporary is about to be made in `folder`."""
        if self.lock is None or folder in self.folders:
            return
        with open(_journal(self.file), "a", encoding="utf-8") as journal:
            journal.write(json.dumps(str(folder)) + "\n")
        self.folders.add(folder)

    def _end(self) -> None:
        if os.getpid() != self.process or self.lock is None:
            return
        with contextlib.suppress(OSError):
            _journal(self.file).unlink(missing_ok=True)
            self.file.unlink(missing_ok=True)
        self.lock.release()


_owners: dict[tuple[int, Path], _Owner] = {}


def temporary(target: Path) -> Path:
    """Return a new path in the folder of `target`, to write to before renaming it to `target`."""
    with _GUARD:
        folder = _folder()
        key = (os.getpid(), folder)
        if key not in _owners or not folder.is_dir():
            _owners[key] = _Owner(folder)
        owner = _owners[key]
        owner.use(target.parent.absolute())
        return target.with_name(f".{target.name}.{owner.token}-{next(_COUNT)}.tmp")


@contextlib.contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder in `parent` that is deleted when the block ends."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = temporary(parent / name)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> list[Path]:
    """Remove the temporaries of processes that are gone, and return what was removed.

    A folder that was moved away for a new one is moved back if the new one was never put in place.
    """
    swept = []
    own = {owner.file for owner in _owners.values() if owner.process == os.getpid()}
    for file in sorted(_folder().glob("*.lock")):
        if file in own:
            continue
        try:
            lock = locks.acquired(file)
        except (OSError, UserError):
            continue
        if lock is None:
            continue
        try:
            left = [entry for folder in _folders(file) for entry in _of(folder, file.stem)]
            swept += [entry for entry in left if _removed(entry)]
            if not any(entry.exists() for entry in left):
                _journal(file).unlink(missing_ok=True)
                file.unlink(missing_ok=True)
        except OSError:
            pass  # files of another user, who can sweep them
        finally:
            lock.release()
    return swept


def _folder() -> Path:
    return paths.cache() / "owners"


def _journal(lock: Path) -> Path:
    return lock.with_suffix(".jsonl")


def _folders(lock: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        found = []
        for line in _journal(lock).read_text(encoding="utf-8", errors="replace").split("\n"):
            with contextlib.suppress(ValueError, TypeError):  # a killed process may leave half a line
                found.append(Path(json.loads(line)))
        return found
    return []


def _of(folder: Path, token: str) -> list[Path]:
    return [p for end in ("tmp", "old") for p in sorted(folder.glob(f".*.{token}-*.{end}"))]


def _removed(entry: Path) -> bool:
    target = entry.with_name(entry.name[1:].rsplit(".", 2)[0])
    if entry.suffix == ".old" and not target.exists():
        os.replace(entry, target)
        return False
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
    return not entry.exists()
