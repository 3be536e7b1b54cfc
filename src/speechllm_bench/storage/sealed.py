"""Seals: the record of a folder holds the sha256 of every other file in the folder, and of itself.

    {..., "seal": {"files": {"weights.safetensors": "9f2c..."}, "record": "51ab..."}}

The record is written last. `record` is the sha256 of the record's canonical JSON without this entry, so one
changed digit is found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.storage import paths, runs

SEAL = "seal"

_known: dict[tuple, str] = {}  # (path, inode, size, times) -> sha256, so that a process hashes a file once


def write(path: Path, record: dict, files: Mapping[str, str] | None = None) -> None:
    """Write a record with its seal.

    files: sha256 by name, relative to the record's folder; None means every other file in that folder.
    """
    runs.write_json(path, with_seal(record, hashes(path) if files is None else files))


def with_seal(record: dict, files: Mapping[str, str]) -> dict:
    """Return the record with a seal over itself and `files`. An older seal is replaced."""
    record = without(record) | {SEAL: {"files": dict(files)}}
    record[SEAL]["record"] = _own_sha256(record)
    return record


def hashes(path: Path) -> dict[str, str]:
    """Return the sha256, by name, of every file in a record's folder except the record."""
    folder = path.parent
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file != path)
    return {file.relative_to(folder).as_posix(): runs.file_sha256(file) for file in files}


def present(*files: Path) -> dict[str, str]:
    """Return the sha256, by name, of those `files` that exist."""
    return {file.name: runs.file_sha256(file) for file in files if file.is_file()}


def without(record: dict) -> dict:
    return {key: value for key, value in record.items() if key != SEAL}


def read(path: Path, remedy: str | None = None, *, files: bool = True, stamped: bool = False) -> dict:
    """Check the record at `path` and its sealed files, and return the record without its seal.

    files: False skips the check of the files. stamped: see `known_sha256`; for large files.
    Raises UserError, with the remedy, for a missing or damaged file.
    """
    record = runs.read_json(path, remedy)
    told = remedy or "delete this file and run again"
    for damaged in faults(path, record, files, stamped):
        raise UserError(f"{damaged}; {told}")
    return without(record)


def faults(path: Path, record: dict, files: bool = True, stamped: bool = False):
    """Yield a phrase for each file that does not agree with a record's seal, the record included."""
    try:
        listed, own = record[SEAL]["files"], record[SEAL]["record"]
        whole = own == _own_sha256(record) and isinstance(listed, dict)
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        yield f"{path} is damaged: it does not agree with its own seal"
        return
    for name, expected in listed.items() if files else ():
        file = path.parent / name
        try:
            if known_sha256(file, stamped) != expected:
                yield f"{file} is damaged: its sha256 is not the one in {path.name}"
        except FileNotFoundError:
            yield f"{file} is missing, though {path.name} lists it"
        except OSError as error:
            yield f"{file} cannot be read ({error.strerror})"


def known_sha256(file: Path, stamped: bool = False) -> str:
    """Return the sha256 of a file. A process computes it once while the file's size and times do not change.

    stamped: also store it in the cache, so that it is computed once per machine. Only `speechllm-bench audit`
    finds a change that keeps size and times, such as a disk fault.
    """
    about = file.stat()
    key = (str(file.resolve()), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if key not in _known:
        _known[key] = _stamped(file, key) if stamped else runs.file_sha256(file)
    return _known[key]


def _stamped(file: Path, key: tuple) -> str:
    """Return the sha256 from its stamp in the cache. A missing or damaged stamp is made anew."""
    stamp = paths.cache() / "hashes" / runs.digest(*key)
    try:
        found, check = stamp.read_text("utf-8").split()
    except (OSError, ValueError):
        found = check = ""
    if not found or check != runs.digest(found, *key):
        found = runs.file_sha256(file)
        runs.write_text(stamp, f"{found} {runs.digest(found, *key)}\n")
    return found


def _own_sha256(record: dict) -> str:
    covered = without(record) | {SEAL: {"files": record[SEAL]["files"]}}
    canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(canonical.encode()).hexdigest()
