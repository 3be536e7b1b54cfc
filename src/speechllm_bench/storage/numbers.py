"""The numbers of a profile's tables, each with a stable id, and the files that hold them.

An id is `profile/study/row/test set/column`, for example `mini/lora/mlp_lora/A/f1`.
`results/<profile>/numbers.json` has every number with its runs, commits and machines, sorted by id.
`numbers.tex` in the same folder defines each number for LaTeX. Reports write both files. Reading them needs
neither tables nor torch.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from speechllm_bench.errors import UserError
from speechllm_bench.storage import paths, renamed, runs, sealed

FORMAT = 1
REPORT = "delete it and write it anew by `speechllm-bench report all --profile {}`"
INTERVAL = re.compile(r"(.*?) (\[[^\]]*\])")
PREAMBLE = r"""% Numbers of profile {profile}, written by `speechllm-bench report`; do not edit.
% \bench{{ID}}: a number with its 95 % interval; \benchvalue{{ID}} and \benchinterval{{ID}}: either alone.
\providecommand\benchdef[3]{{\expandafter\def\csname bench@\detokenize{{#1}}\endcsname{{{{#2}}{{#3}}}}}}
\providecommand\benchpart[2]{{\ifcsname bench@\detokenize{{#2}}\endcsname
  \expandafter\expandafter\expandafter#1\csname bench@\detokenize{{#2}}\endcsname
  \else\PackageError{{speechllm-bench}}{{No number \detokenize{{#2}}}}{{Is numbers.tex up to date?}}\fi}}
\providecommand\benchfirst[2]{{#1}}
\providecommand\benchsecond[2]{{#2}}
\providecommand\benchboth[2]{{#1\ifx\relax#2\relax\else~#2\fi}}
\providecommand\bench[1]{{\benchpart\benchboth{{#1}}}}
\providecommand\benchvalue[1]{{\benchpart\benchfirst{{#1}}}}
\providecommand\benchinterval[1]{{\benchpart\benchsecond{{#1}}}}
"""
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {c: f"\\{c}" for c in "%&_#${}"} | {"<": "$<$", "−": "$-$", "–": "--"}


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text and, if it is a number, its value and interval."""

    shown: str
    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def parts(self) -> tuple[str, str]:
        """The number and its interval as text; the interval is empty if there is none."""
        found = INTERVAL.fullmatch(self.shown)
        return (found[1], found[2]) if found else (self.shown, "")


@dataclass(frozen=True)
class Row:
    """The numbers of one row of a table, and the runs that they come from."""

    key: str  # study/row/test set
    table: str  # the table's file, without its ending
    status: str
    n: int | None = None  # utterances
    speakers: int | None = None
    seeds: tuple[int, ...] = ()
    runs: tuple[str, ...] = ()  # digests
    commits: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    made_of: Mapping[str, str | int] = field(default_factory=dict)  # `identity.components` of the runs
    cells: Mapping[str, Cell] = field(default_factory=dict)  # by column

    @property
    def study(self) -> str:
        return self.key.split("/")[0]

    @property
    def name(self) -> str:
        """The variant; in tables of claims and further tables the name of the row."""
        return self.key.split("/")[1]

    @property
    def test_set(self) -> str:
        return self.key.split("/")[2]


@dataclass(frozen=True)
class Number:
    """One cell with its id and its row."""

    profile: str
    row: Row
    column: str

    @property
    def id(self) -> str:
        return f"{self.profile}/{self.row.key}/{self.column}"

    @property
    def cell(self) -> Cell:
        return self.row.cells[self.column]


def file(profile: str) -> Path:
    return paths.results(profile) / "numbers.json"


def read(profile: str) -> dict[str, Row]:
    """Return the rows of a profile by key; empty if no report has written any."""
    place = file(profile)
    if not place.is_file():
        return {}
    about = place.stat()
    return dict(_read(place, profile, (about.st_mtime_ns, about.st_size, about.st_ino)))


def update(profile: str, study: str, tables: Iterable[str], rows: Sequence[Row], anew: bool = True) -> None:
    """Replace the stored rows of the named tables of a study by `rows`, and write both files.

    anew: False writes nothing where the rows are the stored ones.
    """
    tables = set(tables)
    with runs.lock(file(profile)):
        stored = read(profile)
        kept = {k: r for k, r in stored.items() if r.study != study or r.table not in tables}
        whole = dict(sorted((kept | {row.key: row for row in rows}).items()))
        if anew or whole != stored:
            runs.write_text(file(profile), _json(profile, whole))
            runs.write_text(file(profile).with_suffix(".tex"), tex(profile, whole))


def of_row(profile: str, row: Row) -> list[Number]:
    return [Number(profile, row, column) for column in row.cells]


def matching(pattern: str) -> list[Number]:
    """Return the number of an id, or the numbers of a pattern such as `mini/lora/*/A/f1`.

    Raises UserError if there is none.
    """
    profile, _, rest = pattern.partition("/")
    rows = read(profile) if re.fullmatch(r"[\w.+=,%-]+", profile) else {}
    if not rows:
        raise UserError(
            f"there are no numbers of a profile '{profile}' for '{pattern}'; an id is "
            f"profile/study/row/test set/column, and `speechllm-bench report all --profile NAME` writes them"
        )
    key, _, column = rest.rpartition("/")
    if key in rows and column in rows[key].cells:
        return [Number(profile, rows[key], column)]
    if key in rows and not rows[key].cells:
        raise UserError(f"{pattern} has no number: its row is {rows[key].status}")
    ids = {number.id: number for row in rows.values() for number in of_row(profile, row)}
    found = [number for id, number in ids.items() if fnmatch.fnmatchcase(id, pattern)]
    if not found:
        if n := sum(id.startswith(f"{pattern}/") for id in ids):
            raise UserError(f"'{pattern}' is no id but the beginning of {n}; '{pattern}/*' names them all")
        if (now := renamed.today(pattern)) in ids:
            raise UserError(f"'{pattern}' is called '{now}' now; cite it by that id")
        near = difflib.get_close_matches(pattern, ids, 3, 0.5)
        raise UserError(f"there is no number '{pattern}'; the nearest ids are: {', '.join(near) or 'none'}")
    return found


def find(id: str) -> Number:
    """Return the number of an id. Raises UserError if there is none, or if there are several."""
    return one_of(id, matching(id))


def one_of(id: str, found: Sequence[Number]) -> Number:
    """Return the only number in `found`. Raises UserError if there are several."""
    if len(found) > 1:
        raise UserError(f"'{id}' names {len(found)} numbers; name one, as {found[0].id}")
    return found[0]


def tex(profile: str, rows: Mapping[str, Row]) -> str:
    """Return the LaTeX file: the macros, and a definition for each id."""
    if "%" in profile:  # from --set with special characters; % begins a LaTeX comment
        return f"% Ids of profile {profile} hold signs that LaTeX does not read.\n"
    lines = [
        rf"\benchdef{{{number.id}}}" + "".join(f"{{{escaped(part)}}}" for part in number.cell.parts)
        for row in rows.values()
        for number in of_row(profile, row)
    ]
    return PREAMBLE.format(profile=profile) + "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Escape text for LaTeX. A hyphen before a number becomes a minus sign."""
    text = "".join(_SPECIAL.get(c, c) for c in text)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", text)


def rounded(value: float) -> float:
    """Round to six significant digits, as in the tables' CSV files, so that all machines agree."""
    return float(f"{value:.6g}")


@lru_cache(8)
def _read(place: Path, profile: str, stamp: tuple[int, ...]) -> dict[str, Row]:
    """Return the rows of a file. `stamp` (time, size, inode) is the cache key for changed files."""
    stored = sealed.read(place, REPORT.format(profile))
    if stored.get("format") != FORMAT:
        raise UserError(f"{place} has another format; {REPORT.format(profile)}")
    return {key: _row(key, row, stored["made_of"]) for key, row in stored["rows"].items()}


def _row(key: str, stored: dict, made_of: Mapping[str, dict]) -> Row:
    about: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored["about"].items()}
    about["made_of"] = made_of.get(about.pop("made_of"), {})
    return Row(key=key, **about, cells={name: Cell(**cell) for name, cell in stored["cells"].items()})


def _json(profile: str, rows: Mapping[str, Row]) -> str:
    """Format as JSON: one line per cell and one for a row's metadata, so that diffs show changed numbers."""
    made_of, stored = {}, {}
    for key, row in rows.items():
        # `asdict` makes deep copies and is slow. A report of all studies writes this file 31 times.
        about = {name: value for name, value in vars(row).items() if name not in ("key", "cells")}
        about["made_of"] = runs.digest(row.made_of)
        made_of[about["made_of"]] = dict(sorted(row.made_of.items()))
        cells = {
            name: {k: v for k, v in vars(cell).items() if v is not None} for name, cell in row.cells.items()
        }
        stored[key] = {"about": about, "cells": cells}
    parts = {"format": FORMAT, "profile": profile, "made_of": dict(sorted(made_of.items())), "rows": stored}
    depths = {"rows": 4, "made_of": 2}
    lines = [
        f" {json.dumps(name)}: {_lines(part, depths.get(name, 1), 1)}"
        for name, part in sealed.with_seal(parts, {}).items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _lines(value: object, depth: int, margin: int) -> str:
    """Format as JSON. The outer `depth` levels have one line per entry."""
    if not isinstance(value, dict) or not value or depth <= 1:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = [
        f"{' ' * (margin + 1)}{json.dumps(name)}: {_lines(part, depth - 1, margin + 1)}"
        for name, part in value.items()
    ]
    return "{\n" + ",\n".join(inner) + "\n" + " " * margin + "}"
