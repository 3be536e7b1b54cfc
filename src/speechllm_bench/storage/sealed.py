"""Seals: a record that is written last holds the sha256 of every file beside it, and its own.

    {..., "seal": {"files": {"weights.safetensors": "9f2c..."}, "record": "51ab..."}}

`record` is the sha256 of the record's canonical JSON without the seal's own `record`, so one changed digit is
found. Records from before there were seals have none: they are read unchecked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.storage import paths, runs

SEAL = "seal"

_known: dict[tuple, str] = {}  # sha256 by a file's path, size and times: each is hashed once a process


def write(path: Path, record: dict, files: Mapping[str, str] | None = None) -> None:
    """Write a record with its seal.

    files: sha256 by name, relative to the record's folder; None is every other file of that folder.
    """
    runs.write_json(path, with_seal(record, hashes(path) if files is None else files))


def with_seal(record: dict, files: Mapping[str, str]) -> dict:
    """The record with a seal over it and over `files`; an older seal is replaced."""
    record = without(record) | {SEAL: {"files": dict(files)}}
    record[SEAL]["record"] = _own_sha256(record)
    return record


def hashes(path: Path) -> dict[str, str]:
    """sha256 by name of every file in the folder of a record, but the record itself."""
    folder = path.parent
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file != path)
    return {file.relative_to(folder).as_posix(): runs.file_sha256(file) for file in files}


def present(*files: Path) -> dict[str, str]:
    """sha256 by name of those of these files that are there."""
    return {file.name: runs.file_sha256(file) for file in files if file.is_file()}


def without(record: dict) -> dict:
    return {key: value for key, value in record.items() if key != SEAL}


def unsealed(record: dict) -> bool:
    """Whether a record is from before there were seals; one whose seal got another name is not."""
    shapes = [value.keys() for value in record.values() if isinstance(value, dict)]
    return SEAL not in record and {"files", "record"} not in shapes


def read(path: Path, remedy: str | None = None, *, files: bool = True, stamped: bool = False) -> dict:
    """The record at `path` without its seal, once it and the files that it seals have been checked.

    files: False leaves the files unchecked. stamped: see `known_sha256`; for large files.
    Raises UserError, with the remedy, for what is missing or damaged.
    """
    record = runs.read_json(path, remedy)
    told = remedy or "delete this file and run again"
    if not isinstance(record, dict):
        raise UserError(f"{path} is damaged; {told}")
    if unsealed(record):
        return record
    for damaged in faults(path, record, files, stamped):
        raise UserError(f"{damaged}; {told}")
    return without(record)


def faults(path: Path, record: dict, files: bool = True, stamped: bool = False):
    """A phrase for each thing that does not agree with a record's seal; nothing where all is well."""
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
    """The sha256 of a file, computed once a process while its size and its times stay.

    stamped: once a machine, since it is also kept in the cache. Only `speechllm-bench audit` finds a change
    that leaves size and times as they were, such as a disk's own.
    """
    about = file.stat()
    key = (str(file.resolve()), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if key not in _known:
        _known[key] = _stamped(file, key) if stamped else runs.file_sha256(file)
    return _known[key]


def _stamped(file: Path, key: tuple) -> str:
    """From the stamp in the cache; a missing or damaged stamp is made anew."""
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
