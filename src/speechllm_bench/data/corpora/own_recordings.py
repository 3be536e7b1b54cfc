"""The user's own recordings: a folder of audio files and a JSONL file for each split. They need no code.

    $SPEECHLLM_BENCH_DATA/own/train.jsonl  validation.jsonl  A-test.jsonl

A line describes a recording of up to 30 s: its path relative to these files, transcript, slots and speaker.
`slots` and `speaker` may be left out.

    {"audio": "wavs/7.wav", "transcript": "from Omaha", "slots": {"origin_city": "Omaha"}, "speaker": "anna"}

A slot's value consists of words of the transcript. The slot types are all that the three files name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora.recorded import Tabled
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings.strict import Strict, checked
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import SlotType, SlotValue, Utterance
from speechllm_bench.storage.sealed import known_sha256

Slot = Annotated[str, Field(pattern="^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]  # such as origin_city


class Line(Strict):
    """One line of a JSONL file: a recording."""

    audio: str
    transcript: str = Field(min_length=1)
    slots: dict[Slot, str] = Field(default_factory=dict)
    speaker: str | None = None  # None: a speaker with only this recording


class OwnRecordings(Tabled):
    name = "own"
    gold = ("transcript", "slots")
    splits = ("train", "validation", "A-test")
    published: ClassVar = dict.fromkeys(splits)

    def turns(self, split: str) -> Iterator[Utterance]:
        file = self.table(split)
        lines = enumerate(_lines(file), 1)
        return (self._utterance(line, split, f"{file.name}, line {i}") for i, line in lines)

    def slot_types(self) -> dict[str, SlotType]:
        lines = (line for split in self.splits for line in _lines(self.table(split)))
        names = sorted({name for line in lines for name in line.slots})
        return {name: SlotType(name, name.replace("_", " "), True, False, self.name) for name in names}

    def size(self, part: str) -> int:
        return len(_lines(self.table(part)))

    def recording(self, utterance: Utterance) -> np.ndarray:
        return read_audio(self.file(".") / utterance.id.split("/", 2)[2])

    def files(self) -> dict[str, str]:
        """Return hashes of the tables, and of the recordings, which their owner may replace."""
        named = {line.audio for split in self.splits for line in _lines(self.table(split))}
        sounds = {name: self.file(".") / name for name in sorted(named)}
        heard = {name: known_sha256(f, stamped=True) if f.is_file() else "" for name, f in sounds.items()}
        return super().files() | {"recordings": runs.digest(heard)}

    def table(self, split: str) -> Path:
        try:
            return self.file(f"{split}.jsonl")
        except MissingInput:
            where = "the folder that SPEECHLLM_BENCH_DATA names"
            raise MissingInput(f"{where} has no {self.name}/{split}.jsonl (docs/add.md, A corpus)") from None

    def _utterance(self, line: Line, split: str, where: str) -> Utterance:
        text = clean(line.transcript)
        slots = []
        for slot, value in line.slots.items():
            said = clean(value)
            if not said or not (found := re.search(rf"(?<!\S){re.escape(said)}(?!\S)", text)):
                raise UserError(f"{where}: the value of {slot}, '{value}', is not in the transcript")
            slots.append(SlotValue(slot, said, value, *found.span()))
        id = f"{self.name}/{split}/{line.audio}"
        return Utterance(
            id=id,
            split=split,
            call_id=id,
            domain=self.name,
            transcript=text,
            slots=tuple(sorted(slots, key=lambda slot: slot.start)),
            speaker=f"{self.name}/{line.speaker or line.audio}",
            gold=self.gold,
        )


@cache
def _lines(file: Path) -> list[Line]:
    try:
        with open(file, encoding="utf-8") as lines:
            found = [_line(line, f"{file.name}, line {i}") for i, line in enumerate(lines, 1)]
    except UnicodeDecodeError:
        raise UserError(f"{file.name} is not UTF-8 text; save it as UTF-8") from None
    except IsADirectoryError:
        raise UserError(f"{file.name} is a folder; it must be a file with one JSON object per line") from None
    if not found:
        raise UserError(f"{file.name} has no line; it must have one JSON object per line")
    first: dict[str, int] = {}
    for i, line in enumerate(found, 1):
        if (before := first.setdefault(line.audio, i)) != i:
            raise UserError(f"{file.name}, line {i}: line {before} has {line.audio}, too; leave one out")
    return found


def _line(text: str, where: str) -> Line:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise UserError(f"{where}: '{twice}' stands twice in it")
        return dict(pairs)

    try:
        return checked(Line, json.loads(text, object_pairs_hook=once), where)
    except (ValueError, RecursionError):
        raise UserError(f"{where}: this is no JSON object of one line") from None


def clean(text: str) -> str:
    """Return text in lower case, without punctuation except the apostrophe."""
    return " ".join(re.sub(r"[^\w' ]|_", " ", text.lower().replace("’", "'")).split())
