"""Temporary files and folders by owner, so that what a killed process leaves behind is found and removed.

A process that writes holds the lock `.cache/owners/<token>.lock` as long as it lives. Its temporaries bear
the token in their names, and `<token>.jsonl` beside the lock lists the folders that they are in. Whoever
starts later and gets the lock knows that the owner is gone, on whatever host it was.
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
    """This process as the owner of temporaries, in the cache of one home."""

    def __init__(self, folder: Path) -> None:
        self.process, self.token = os.getpid(), secrets.token_hex(6)
        self.file = folder / f"{self.token}.lock"
        self.folders: set[Path] = set()
        try:
            self.lock: FileLock | None = locks.acquired(self.file)
        except (OSError, UserError):
            self.lock = None  # a disk without locks or a cache of another user: nothing is swept
        atexit.register(self._end)

    def use(self, folder: Path) -> None:
        """Note that a temporary is about to be made in `folder`."""
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
    """A new name beside `target` under which it is written before it is renamed."""
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
    """An empty folder in `parent` that vanishes when the block ends."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = temporary(parent / name)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> list[Path]:
    """Remove what processes that are gone have left behind; returns what was removed.

    A folder that was moved away to make room for a new one comes back where the new one never came.
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
            pass  # another user's: theirs to sweep
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
        for line in _journal(lock).read_text(encoding="utf-8").split("\n"):
            with contextlib.suppress(ValueError):  # the last line of a process that was killed
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
