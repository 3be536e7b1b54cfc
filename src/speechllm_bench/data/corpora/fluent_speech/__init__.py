"""Fluent Speech Commands (Lugosch et al., Interspeech 2019): commands to a home assistant, by 97 people.

Nothing is downloaded. The unpacked archive of fluent.ai is expected at

    $SPEECHLLM_BENCH_DATA/fluent_speech/data/{train,valid,test}_data.csv    wavs/speakers/*/<id>.wav

No speaker is in two splits. The action of an intent is never said in one word, so it is no slot. Object and
location are slots if the command names them (`SAID`). A command that implies one of them without naming it
("louder", for the volume) is left out, since no span is the value. The corpus has no B-test, no dialogue
context, and no labels of entities or sentiment.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora import slot_file
from speechllm_bench.data.corpora.published import file_hash, published_file, refuse_other_splits, table_rows
from speechllm_bench.data.corpora.scope import Scope
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Gold, SlotType, SlotValue, Utterance

NAME = "fluent_speech"
READER_VERSION = "1"
"""Raise it with every change of this package that changes an utterance."""

GOLD: tuple[Gold, ...] = ("transcript", "slots", "domain", "intent")
SPLITS = {"train": "train", "validation": "valid", "A-test": "test"}
SCOPE = Scope(tuple(SPLITS), (frozenset(GOLD),), dialogue=False, recorded=True)
SLOTS = Path(__file__).with_name("slots.yaml")
PUBLISHED = {"train": 23132, "validation": 3118, "A-test": 3793}  # commands
COLUMNS = ("path", "speakerId", "transcription", "action", "object", "location")
SAID = {  # spoken words for a label; singular and plural are separate labels
    "lights": ("lights", "light"),
    "lamp": ("lamp", "lamps"),
    "heat": ("heat", "heating", "temperature"),
    "volume": ("volume", "sound"),
    "shoes": ("shoes",),
    "socks": ("socks",),
    "washroom": ("washroom", "bathroom"),
}


def utterances(split: str, n: int | None = None) -> list[Utterance]:
    """Return the first n commands of a split (None: all).

    Raises UserError for an unknown split, and MissingInput if files are missing.
    """
    refuse_other_splits(NAME, split, SPLITS)
    made = (_utterance(row, split) for row in _rows(_table(split)).values())
    return list(islice((utterance for utterance in made if utterance), n))


def slot_types() -> dict[str, SlotType]:
    """Return both slot types by name."""
    return slot_file.slot_types(SLOTS)


def recipe() -> dict:
    """Return what the utterances depend on: hashes of the tables. `corpus.json` has those of the audio."""
    files = {split: file_hash(_table(split)) for split in SPLITS}
    return {"corpus": NAME, "reader": READER_VERSION, "slots": file_hash(SLOTS), "files": files}


def counts() -> dict[str, tuple[int, int]]:
    """Return the actual and the published number of commands by split."""
    return {split: (len(_rows(_table(split))), n) for split, n in PUBLISHED.items()}


def recording(utterance: Utterance) -> np.ndarray:
    """Return samples (n,) at 16 kHz. Raises UserError for a missing or unreadable file."""
    row = _rows(_table(utterance.split))[utterance.id.rpartition("/")[2]]
    return read_audio(published_file(NAME, "wavs").parent / row["path"])


def _table(split: str) -> Path:
    return published_file(NAME, f"data/{SPLITS[split]}_data.csv")


@cache
def _rows(file: Path) -> dict[str, dict[str, str]]:
    """Return the table's rows by recording name, in the file's order."""
    rows = {}
    for where, row in table_rows(file, COLUMNS, "of Fluent Speech Commands"):
        if None in row or any(not row[name] for name in COLUMNS):
            raise UserError(f"{where}: a row has other fields than the header")
        name = Path(row["path"]).stem
        if name in rows:
            raise UserError(f"{where}: recording {name} has a row already; fetch the table again")
        rows[name] = row
    return rows


def _utterance(row: dict[str, str], split: str) -> Utterance | None:
    """Return the utterance of a row; None if the command implies a slot's value without saying it."""
    text = clean(row["transcription"])
    slots = []
    for slot in slot_types():
        if (label := row[slot].lower()) == "none":
            continue
        said = "|".join(map(re.escape, SAID.get(label, (label,))))
        if not (match := re.search(rf"\b(?:{said})\b", text)):
            return None
        slots.append(SlotValue(slot, match.group(), label, *match.span()))
    name = Path(row["path"]).stem
    intent = "_".join(row[part].lower() for part in ("action", "object", "location")).replace(" ", "_")
    return Utterance(
        id=f"{NAME}/{split}/{name}",
        split=split,
        call_id=f"{NAME}/{split}/{name}",
        domain="home",
        intent=intent,
        transcript=text,
        slots=tuple(sorted(slots, key=lambda s: s.start)),
        speaker=f"{NAME}/{row['speakerId']}",
        gold=GOLD,
    )


def clean(text: str) -> str:
    """Return text in lower case, without punctuation except the apostrophe."""
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("’", "'")).split())
