"""Stamps of reports: what a report was made from and what it wrote, so that nothing is made twice.

As in `make`, sizes and times of files tell whether anything has changed; none is read. Besides the records of
its runs a report rests on this package, studies and profiles, backbones and the libraries that draw.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.planning.studies import Result
from speechllm_bench.storage import numbers, paths, runs, sealed

LIBRARIES = ("numpy", "pandas", "matplotlib", "fonttools", "tabulate")
COMPILED = "__pycache__"

States = Mapping[str, list | str | None]
"""What `state` says of paths."""


class Stamp:
    """The stamp of one report.

    about: what of the report was asked for, as its seeds.
    """

    def __init__(self, profile: str, name: str, about: Sequence[int] = ()) -> None:
        self.place = folder(profile) / f"{name}.json"
        self._asked = {"about": list(about), "rests_on": common()}
        self._stored: dict = {}
        try:
            self._stored = sealed.read(self.place)
        except UserError:  # missing or damaged
            return

    @property
    def current(self) -> bool:
        """Whether all that the report was made from and all that it wrote is as it was."""
        asked = {key: self._stored.get(key) for key in self._asked}
        return asked == self._asked and all(
            self._stored[part] == of(map(Path, self._stored[part])) for part in ("read", "wrote")
        )

    @property
    def read(self) -> States:
        """State of the files that the report was made from."""
        return self._stored["read"]

    @property
    def written(self) -> list[Path]:
        """The files that the report wrote."""
        return [Path(file) for file in self._stored["wrote"]]

    @property
    def holds(self) -> dict:
        """What was kept beside the stamp."""
        return self._stored["holds"]

    def keep(self, read: States, written: Iterable[Path] = (), holds: dict | None = None) -> None:
        """Store the stamp of a report that was just made.

        read: the state of the files that it was made from, as it was when they were read.
        """
        parts = {"read": dict(read), "wrote": of(written), "holds": holds or {}}
        self._stored = self._asked | parts
        sealed.write(self.place, self._stored, {})


def folder(profile: str) -> Path:
    """Where stamps of a profile are kept, and the intervals of its studies."""
    return paths.cache() / "reports" / profile


def intervals_file(profile: str, study: str) -> Path:
    """Where the intervals of a study's report are kept (`evaluation.intervals`)."""
    return folder(profile) / "intervals" / f"{study}.json"


def common() -> str:
    """State of what every report rests on."""
    package = [Path(place) for place, _, _ in os.walk(Path(__file__).parents[1]) if COMPILED not in place]
    others = [
        place for top in paths.experiment_folders() for place in (top, top / "papers", top / "profiles")
    ]
    for backbones in (paths.PROJECT / "zoo", paths.fetched()):
        others += sorted(backbones.glob("*/"))
    return runs.digest(sys.version, _versions(), of([*package, *others]))


def update_numbers(profile: str, study: str, tables: Iterable[str], rows: Sequence[numbers.Row]) -> None:
    """`numbers.update`, with a stamp of how numbers.json was left, which all studies share."""
    numbers.update(profile, study, tables, rows)
    Stamp(profile, "numbers").keep({}, [numbers.file(profile)])


def of_rows(rows: Iterable[Result], profile: str) -> States:
    """State of the files that `studies.records` has read or found missing."""
    found: dict = {}
    for row in rows:
        if row["run"] is None:  # which run it would be is not known
            found |= of([paths.results(profile) / "runs"])
        elif row["record"]:
            found |= of([row["run"].folder])
        else:
            folder = row["run"].folder
            failed = folder.parents[1] / "failed" / f"{folder.name}.json"
            found |= {str(folder): None, str(failed): state(failed) if row["status"] == "FAILED" else None}
    return found


def of(files: Iterable[Path]) -> dict:
    """`state` by path."""
    return {str(file): state(file) for file in files}


def state(path: Path) -> list | str | None:
    """What tells whether a path has changed: of a folder that of all its files; None where there is none."""
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
