"""Stamps of reports: what each was made from and what it wrote, so that an unchanged one is not made again.

As in `make`, sizes and modification times of files tell whether anything has changed; no file is read.
Besides the records of its runs a report depends on this package, studies and profiles, backbones, and the
libraries that draw.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.planning.studies import Result
from speechllm_bench.storage import numbers, paths, runs, sealed

LIBRARIES = ("numpy", "pandas", "matplotlib", "fonttools", "tabulate")
COMPILED = "__pycache__"

States = Mapping[str, list | str | None]
"""Path -> its `state`."""


class Stamp:
    """The stamp of one report. about: options of the report, such as its seeds."""

    def __init__(self, profile: str, name: str, about: Sequence[int] = ()) -> None:
        self.place = folder(profile) / f"{name}.json"
        self._asked = {"about": list(about), "rests_on": common()}
        self._stored: dict = {}
        with contextlib.suppress(UserError):  # missing or damaged
            self._stored = sealed.read(self.place)

    @property
    def current(self) -> bool:
        """Return whether all inputs and outputs of the report are unchanged."""
        asked = {key: self._stored.get(key) for key in self._asked}
        return asked == self._asked and all(
            self._stored[part] == of(map(Path, self._stored[part])) for part in ("read", "wrote")
        )

    @property
    def read(self) -> States:
        """Return the state of the files that the report was made from."""
        return self._stored["read"]

    @property
    def written(self) -> list[Path]:
        """Return the files that the report wrote."""
        return [Path(file) for file in self._stored["wrote"]]

    @property
    def holds(self) -> dict:
        """Return the data that was stored with the stamp."""
        return self._stored["holds"]

    def keep(self, read: States, written: Iterable[Path] = (), holds: dict | None = None) -> None:
        """Store the stamp of a report just made. read: the state of its inputs when they were read."""
        self._stored = self._asked | {"read": dict(read), "wrote": of(written), "holds": holds or {}}
        sealed.write(self.place, self._stored, {})


def folder(profile: str) -> Path:
    """Return the folder of a profile's stamps and of the intervals of its studies."""
    return paths.cache() / "reports" / profile


def intervals_file(profile: str, study: str) -> Path:
    """Return the file of the intervals of a study's report (`evaluation.intervals`)."""
    return folder(profile) / "intervals" / f"{study}.json"


def common() -> str:
    """Return the state of the inputs that all reports share."""
    package = [Path(place) for place, _, _ in os.walk(Path(__file__).parents[1]) if COMPILED not in place]
    others = [
        place for top in paths.experiment_folders() for place in (top, top / "papers", top / "profiles")
    ]
    for backbones in (paths.PROJECT / "zoo", paths.fetched()):
        others += sorted(backbones.glob("*/"))
    return runs.digest(sys.version, _versions(), of([*package, *others]))


def update_numbers(profile: str, study: str, tables: Iterable[str], rows: Sequence[numbers.Row]) -> None:
    """Call `numbers.update`, and stamp the new state of its two files, which all studies share."""
    stamp, place = Stamp(profile, "numbers"), numbers.file(profile)
    numbers.update(profile, study, tables, rows, anew=not stamp.current)
    stamp.keep({}, [place, place.with_suffix(".tex")])


def of_rows(rows: Iterable[Result], profile: str) -> States:
    """Return the state of the files that `studies.records` has read or found missing."""
    found: dict = {}
    for row in rows:
        if row["run"] is None:  # the run's digest is not known, so any new run may matter
            found |= of([paths.results(profile) / "runs"])
        elif row["record"]:
            found |= of([row["run"].folder])
        else:
            folder = row["run"].folder
            failed = folder.parents[1] / "failed" / f"{folder.name}.json"
            found |= {str(folder): None, str(failed): state(failed) if row["status"] == "FAILED" else None}
    return found


class Recorded(NamedTuple):
    """The records of a study, and the state of their files when they were read."""

    rows: Sequence[Result]
    read: States


def stored_records(study: str, profile: str, seeds: Sequence[int] | None = None) -> Recorded:
    """Return the records of a study. Raises UserError where they cannot be told apart on this machine."""
    rows = studies.records(study, profile, seeds)
    studies.refuse_untold(rows)
    return Recorded(rows, of_rows(rows, profile))


def of(files: Iterable[Path]) -> dict:
    """Return path -> `state`."""
    return {str(file): state(file) for file in files}


def state(path: Path) -> list | str | None:
    """Return a value that changes when the path, or a file in it, does. None where nothing is there."""
    try:
        about = path.stat()
        if not path.is_dir():
            return [about.st_size, about.st_mtime_ns]
        with os.scandir(path) as entries:
            inside = [(one.name, one.stat() if one.is_file() else None) for one in entries]
    except OSError:
        return None
    return runs.digest(
        sorted([name, *((one.st_size, one.st_mtime_ns) if one else ())] for name, one in inside)
    )


@cache
def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in LIBRARIES}
