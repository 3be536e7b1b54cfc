"""Common Voice (Ardila et al., LREC 2020) in Spanish and French: sentences that volunteers read aloud.

It provides recorded speech for the study `cross_lingual`, in place of synthesised turns. Nothing is
downloaded. The unpacked archive of Mozilla for each language is expected at

    $SPEECHLLM_BENCH_DATA/common_voice/{es,fr}/test.tsv    clips/*.mp3

Each language is one split, its test set, and is not trained on. Only transcripts have gold; entities would
need an annotator. Clips with more negative than positive votes are left out.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora.published import file_hash, published_file, refuse_other_splits, table_rows
from speechllm_bench.data.corpora.scope import Scope
from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import LANGUAGES
from speechllm_bench.storage.schema import Gold, SlotType, Utterance

NAME = "common_voice"
READER_VERSION = "1"
"""Raise it with every change of this module that changes an utterance."""

GOLD: tuple[Gold, ...] = ("transcript",)
SPLITS = {language: language for language in LANGUAGES}
SCOPE = Scope(tuple(SPLITS), (frozenset(GOLD),), dialogue=False, recorded=True)
COLUMNS = ("client_id", "path", "sentence", "up_votes", "down_votes")


def utterances(split: str, n: int | None = None) -> list[Utterance]:
    """Return the first n clips of a language (None: all).

    Raises UserError for an unknown split, and MissingInput if files are missing.
    """
    refuse_other_splits(NAME, split, SPLITS)
    return list(islice((_utterance(row, split) for row in _rows(_table(split)).values() if _kept(row)), n))


def slot_types() -> dict[str, SlotType]:
    """Return no slot types, since the corpus has no slot labels."""
    return {}


def recipe() -> dict:
    """Return what the utterances depend on: hashes of the tables. `corpus.json` has those of the audio."""
    files = {split: file_hash(_table(split)) for split in SPLITS}
    return {"corpus": NAME, "reader": READER_VERSION, "files": files}


def counts() -> dict[str, tuple[int, None]]:
    """Return the number of clips by split. No published number is given, since it differs by release."""
    return {split: (len(_rows(_table(split))), None) for split in SPLITS}


def recording(utterance: Utterance) -> np.ndarray:
    """Return samples (n,) at 16 kHz. Raises UserError for a missing or unreadable file."""
    return read_audio(
        published_file(NAME, f"{utterance.split}/clips") / f"{utterance.id.rpartition('/')[2]}.mp3"
    )


def clean(text: str) -> str:
    """Return text in lower case with accents, without punctuation except apostrophes inside words."""
    plain = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    return " ".join(re.sub(r"(?<!\w)'|'(?!\w)|[^\w' ]|_", " ", plain).split())


def _table(split: str) -> Path:
    return published_file(NAME, f"{split}/test.tsv")


@cache
def _rows(file: Path) -> dict[str, dict[str, str]]:
    """Return the table's rows by clip name, in the file's order. The table has no quoting."""
    rows, form = {}, {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    for where, row in table_rows(file, COLUMNS, "of Common Voice", **form):
        votes = (row["up_votes"], row["down_votes"])
        if None in row or not all(vote and vote.isdecimal() for vote in votes):
            raise UserError(f"{where}: a row has other fields than the header")
        name = Path(row["path"]).stem
        if name in rows:
            raise UserError(f"{where}: clip {name} has a row already; fetch the table again")
        rows[name] = row
    return rows


def _kept(row: dict[str, str]) -> bool:
    return bool(clean(row["sentence"])) and int(row["up_votes"]) >= int(row["down_votes"])


def _utterance(row: dict[str, str], split: str) -> Utterance:
    name = Path(row["path"]).stem
    return Utterance(
        id=f"{NAME}/{split}/{name}",
        split=split,
        call_id=f"{NAME}/{split}/{name}",
        domain="read",
        transcript=clean(row["sentence"]),
        speaker=f"{NAME}/{row['client_id'][:16]}",
        gold=GOLD,
    )
