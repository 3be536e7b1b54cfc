"""Finds files of published corpora. Each corpus has a folder in the one that SPEECHLLM_BENCH_DATA names."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.storage import runs


def published_file(corpus: str, name: str) -> Path:
    """Return a file or folder of a corpus. Raises MissingInput if it does not exist."""
    data = os.environ.get("SPEECHLLM_BENCH_DATA")
    if not data:
        raise MissingInput(
            f"corpus '{corpus}' is not on this machine, for SPEECHLLM_BENCH_DATA is not set; let it name a "
            f"folder with {corpus}/ in it (docs/profiles.md, The paper profile)"
        )
    if not (path := Path(data) / corpus / name).exists():
        raise MissingInput(
            f"corpus '{corpus}' is not whole on this machine: {path.parent} has no {path.name}; fetch it "
            "(docs/profiles.md, The paper profile)"
        )
    return path


def table_rows(file: Path, columns: Iterable[str], whose: str, **form: Any) -> Iterator[tuple[str, dict]]:
    """Yield the place and the fields of each row of a table.

    form: of the table, as `csv.DictReader` takes it. Raises UserError where it lacks a column, for a file
    that is no text, and for a field of several lines: unbalanced quotes make one row of the rows between.
    """
    with open(file, encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines, **form)
        try:
            if lacking := sorted(set(columns) - set(reader.fieldnames or ())):
                raise UserError(f"{file.name} has no {', '.join(lacking)}; is it {whose}?")
            for row in reader:
                place = f"{file.name}, line {reader.line_num}"
                if any(isinstance(field, str) and "\n" in field for field in row.values()):
                    raise UserError(
                        f"{place}: a field runs over several lines, as a quote is unbalanced; fetch it again"
                    )
                yield place, row
        except UnicodeDecodeError:
            raise UserError(f"{file.name} is not UTF-8 text; fetch it again") from None
        except csv.Error as error:  # such as a field of all lines after a quote
            raise UserError(f"{file.name}, line {reader.line_num}: {error}; fetch it again") from None


def rows_by_recording(
    file: Path, columns: Iterable[str], whose: str, sound: Callable[[dict], bool], **form: Any
) -> dict[str, dict[str, str]]:
    """Return the rows of a table by the name of their recording in the column `path`, in the file's order.

    sound: whether the fields of a row can be used. UserError for a row that is not sound, or of the same
    recording as an earlier one.
    """
    rows: dict[str, dict[str, str]] = {}
    for where, row in table_rows(file, columns, whose, **form):
        if None in row or not sound(row):
            raise UserError(f"{where}: a row has other fields than the header")
        name = Path(row["path"]).stem
        if name in rows:
            raise UserError(f"{where}: recording {name} has a row already; fetch the table again")
        rows[name] = row
    return rows


@cache
def file_hash(file: Path) -> str:
    """Return the SHA-256 of a file, which must not change while a process runs: the hash is cached."""
    return runs.file_sha256(file)
