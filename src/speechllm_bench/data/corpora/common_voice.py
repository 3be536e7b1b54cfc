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
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora.published import rows_by_recording
from speechllm_bench.data.corpora.recorded import Tabled
from speechllm_bench.settings.config import LANGUAGES
from speechllm_bench.storage.schema import Utterance

COLUMNS = ("client_id", "path", "sentence", "up_votes", "down_votes")


class CommonVoice(Tabled):
    name = "common_voice"
    gold = ("transcript",)
    splits = LANGUAGES
    published: ClassVar = dict.fromkeys(LANGUAGES)  # they differ by release

    def turns(self, split: str) -> Iterator[Utterance]:
        return (self._utterance(row, split) for row in _rows(self.table(split)).values() if _kept(row))

    def size(self, part: str) -> int:
        return len(_rows(self.table(part)))

    def recording(self, utterance: Utterance) -> np.ndarray:
        folder = self.file(f"{utterance.split}/clips")
        return read_audio(folder / f"{utterance.id.rpartition('/')[2]}.mp3")

    def table(self, split: str) -> Path:
        return self.file(f"{split}/test.tsv")

    def _utterance(self, row: dict[str, str], split: str) -> Utterance:
        id = f"{self.name}/{split}/{Path(row['path']).stem}"
        return Utterance(
            id=id,
            split=split,
            call_id=id,
            domain="read",
            transcript=clean(row["sentence"]),
            speaker=f"{self.name}/{row['client_id'][:16]}",
            gold=self.gold,
        )


def clean(text: str) -> str:
    """Return text in lower case with accents, without punctuation except apostrophes inside words."""
    plain = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    return " ".join(re.sub(r"(?<!\w)'|'(?!\w)|[^\w' ]|_", " ", plain).split())


@cache
def _rows(file: Path) -> dict[str, dict[str, str]]:
    """Return the table's rows by clip name, in the file's order. The table has no quoting."""

    def sound(row: dict) -> bool:
        return all((row[votes] or "").isdecimal() for votes in ("up_votes", "down_votes"))

    form = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    return rows_by_recording(file, COLUMNS, "of Common Voice", sound, **form)


def _kept(row: dict[str, str]) -> bool:
    return bool(clean(row["sentence"])) and int(row["up_votes"]) >= int(row["down_votes"])
