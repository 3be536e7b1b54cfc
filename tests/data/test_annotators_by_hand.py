"""The table that a person labels: it is never written over, and what cannot be right is told by line."""

from __future__ import annotations

import csv

import pytest

from speechllm_bench.data.annotators import by_hand
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Utterance

SAID = ("from rome to new york on monday", 'she said "thanks", twice', "it's ann")
TURNS = [Utterance(f"u{i}", "train", "c", i, "d", "", "", said, (), (), "neutral", (), "s")
         for i, said in enumerate(SAID)]  # fmt: skip


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "labels" / "some.csv"
    by_hand.begin(file, TURNS)
    return file


def fill(file, index, **cells):
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    rows[index] |= cells
    with file.open("w", encoding="utf-8-sig", newline="") as lines:  # as a spreadsheet writes it
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_turn_counts_once_it_is_done(table):
    assert by_hand.read(table, TURNS) == {}
    fill(table, 0, done="x", place="rome;  new  york ;", when="monday")
    fill(table, 1, done="x")
    fill(table, 2, person="ann")
    assert by_hand.read(table, TURNS) == {
        "u0": [("WHEN", "monday"), ("PLACE", "rome"), ("PLACE", "new york")],
        "u1": [],
    }


def test_a_table_with_work_in_it_stays(table):
    fill(table, 2, done="x", person="ann")
    by_hand.begin(table, TURNS[:1])
    assert by_hand.read(table, TURNS) == {"u2": [("PERSON", "ann")]}


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"place": "rom"}, "line 2: 'rom' \\(place\\) is not in the transcript"),
        ({"place": "rome; oslo"}, "line 2: 'oslo' \\(place\\) is not in the transcript"),
        ({"id": "other"}, "line 2: there is no turn 'other' to label"),
    ],
)
def test_what_cannot_be_right_is_told_by_line(table, cells, told):
    fill(table, 0, done="x", **cells)
    with pytest.raises(UserError, match=told):
        by_hand.read(table, TURNS)


def test_another_table_is_told_from_this_one(table):
    table.write_text(table.read_text().replace("organisation", "organization"))
    with pytest.raises(UserError, match="has no column organisation; its columns are id, transcript, done,"):
        by_hand.read(table, TURNS)


def test_a_table_in_another_encoding_is_told_in_a_sentence(table):
    table.write_bytes(table.read_text("utf-8-sig").replace("ann", "caf\u00e9").encode("cp1252"))
    with pytest.raises(UserError, match="is not in UTF-8; save it as 'CSV UTF-8'"):
        by_hand.read(table, TURNS)
