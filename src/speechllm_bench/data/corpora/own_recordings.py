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
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora.published import file_hash, published_file, refuse_other_splits
from speechllm_bench.data.corpora.scope import Scope
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings.strict import Strict, checked
from speechllm_bench.storage.schema import Gold, SlotType, SlotValue, Utterance

NAME = "own"
READER_VERSION = "1"
"""Raise it with every change of this module that changes an utterance."""

GOLD: tuple[Gold, ...] = ("transcript", "slots")
SPLITS = ("train", "validation", "A-test")
SCOPE = Scope(SPLITS, (frozenset(GOLD),), dialogue=False, recorded=True)


Slot = Annotated[str, Field(pattern="^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]  # such as origin_city


class Line(Strict):
    """One line of a JSONL file: a recording."""

    audio: str
    transcript: str = Field(min_length=1)
    slots: dict[Slot, str] = Field(default_factory=dict)
    speaker: str | None = None  # None: a speaker with only this recording


def utterances(split: str, n: int | None = None) -> list[Utterance]:
    """Return the first n recordings of a split (None: all).

    Raises UserError for an unknown split, and MissingInput if files are missing.
    """
    refuse_other_splits(NAME, split, SPLITS)
    file = _file(split)
    lines = enumerate(_lines(file), 1)
    return list(islice((_utterance(line, split, f"{file.name}, line {i}") for i, line in lines), n))


def slot_types() -> dict[str, SlotType]:
    """Return all slots in any line, by name."""
    names = sorted({name for split in SPLITS for line in _lines(_file(split)) for name in line.slots})
    return {name: SlotType(name, name.replace("_", " "), True, False, NAME) for name in names}


def recipe() -> dict:
    """Return what the utterances depend on: hashes of the files. `corpus.json` has those of the audio."""
    return {"corpus": NAME, "reader": READER_VERSION, "files": {s: file_hash(_file(s)) for s in SPLITS}}


def counts() -> dict[str, tuple[int, int | None]]:
    """Return the number of recordings by split. There is no published number."""
    return {split: (len(_lines(_file(split))), None) for split in SPLITS}


def recording(utterance: Utterance) -> np.ndarray:
    """Return samples (n,) at 16 kHz. Raises UserError for a missing or unreadable file."""
    return read_audio(published_file(NAME, ".") / utterance.id.split("/", 2)[2])


def _file(split: str) -> Path:
    try:
        return published_file(NAME, f"{split}.jsonl")
    except MissingInput:
        where = "the folder that SPEECHLLM_BENCH_DATA names"
        raise MissingInput(f"{where} has no {NAME}/{split}.jsonl (docs/add.md, A corpus)") from None


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


def _utterance(line: Line, split: str, where: str) -> Utterance:
    text = clean(line.transcript)
    slots = []
    for slot, value in line.slots.items():
        said = clean(value)
        if not said or not (found := re.search(rf"(?<!\S){re.escape(said)}(?!\S)", text)):
            raise UserError(f"{where}: the value of {slot}, '{value}', is not in the transcript")
        slots.append(SlotValue(slot, said, value, *found.span()))
    id = f"{NAME}/{split}/{line.audio}"
    return Utterance(
        id=id,
        split=split,
        call_id=id,
        domain=NAME,
        transcript=text,
        slots=tuple(sorted(slots, key=lambda slot: slot.start)),
        speaker=f"{NAME}/{line.speaker or line.audio}",
        gold=GOLD,
    )


def clean(text: str) -> str:
    """Return text in lower case, without punctuation except the apostrophe."""
    return " ".join(re.sub(r"[^\w' ]|_", " ", text.lower().replace("’", "'")).split())
