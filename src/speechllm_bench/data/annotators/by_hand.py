"""Entities labelled by a person, in a CSV table for any spreadsheet or text editor.

    id, transcript, done, when, quantity, place, group, organisation, law, person

A turn counts as labelled if its `done` is not empty. Phrases of one tag are copied word for word from the
transcript and separated by `;`. For a turn without entities, only `done` is filled.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.tasks import ner
from speechllm_bench.tasks.prompt import contains

COLUMNS = ("id", "transcript", "done", *ner.SPOKEN.values())


def begin(file: Path, turns: Sequence[Utterance]) -> None:
    """Write a table of unlabelled turns. An existing table is kept, since it contains somebody's work."""
    if file.is_file():
        return
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows({"id": turn.id, "transcript": turn.transcript} for turn in turns)
    runs.write_text(file, text.getvalue())


def read(file: Path, turns: Sequence[Utterance]) -> dict[str, list[tuple[str, str]]]:
    """Return (tag, phrase) of each entity by utterance id, for the turns that are done.

    Raises UserError, with the line, for a phrase that is not in its transcript and for an unknown turn.
    """
    said = {turn.id: turn.transcript for turn in turns}
    found = {}
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError:
        raise UserError(f"{file} is not in UTF-8; save it as 'CSV UTF-8'") from None
    table = csv.DictReader(io.StringIO(text))
    if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
        raise UserError(f"{file} has no column {', '.join(missing)}; its columns are {', '.join(COLUMNS)}")
    for row in table:
        if not (row["done"] or "").strip():
            continue
        if row["id"] not in said:
            raise UserError(f"{file}, line {table.line_num}: there is no turn '{row['id']}' to label")
        found[row["id"]] = _entities(row, said[row["id"]], f"{file}, line {table.line_num}")
    return found


def _entities(row: dict[str, str], transcript: str, where: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for tag, word in ner.SPOKEN.items():
        for phrase in (row[word] or "").split(";"):
            phrase = " ".join(phrase.split())
            if phrase and not contains(transcript, phrase):
                raise UserError(
                    f"{where}: '{phrase}' ({word}) is not in the transcript; copy it word for word"
                )
            if phrase:
                found.append((tag, phrase))
    return found
