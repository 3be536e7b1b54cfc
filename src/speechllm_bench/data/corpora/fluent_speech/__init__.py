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
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora.published import rows_by_recording
from speechllm_bench.data.corpora.recorded import Tabled
from speechllm_bench.storage.schema import SlotValue, Utterance

INTENT = ("action", "object", "location")
COLUMNS = ("path", "speakerId", "transcription", *INTENT)
SAID = {  # spoken words for a label; singular and plural are separate labels
    "lights": ("lights", "light"),
    "lamp": ("lamp", "lamps"),
    "heat": ("heat", "heating", "temperature"),
    "volume": ("volume", "sound"),
    "shoes": ("shoes",),
    "socks": ("socks",),
    "washroom": ("washroom", "bathroom"),
}


class FluentSpeech(Tabled):
    name = "fluent_speech"
    gold = ("transcript", "slots", "domain", "intent")
    splits: ClassVar = {"train": "train", "validation": "valid", "A-test": "test"}
    slots = Path(__file__).with_name("slots.yaml")
    published: ClassVar = {"train": 23132, "validation": 3118, "A-test": 3793}  # commands

    def turns(self, split: str) -> Iterator[Utterance]:
        return filter(None, (self._utterance(row, split) for row in _rows(self.table(split)).values()))

    def size(self, part: str) -> int:
        return len(_rows(self.table(part)))

    def recording(self, utterance: Utterance) -> np.ndarray:
        row = _rows(self.table(utterance.split))[utterance.id.rpartition("/")[2]]
        return read_audio(self.file("wavs").parent / row["path"])

    def table(self, split: str) -> Path:
        return self.file(f"data/{self.splits[split]}_data.csv")

    def _utterance(self, row: dict[str, str], split: str) -> Utterance | None:
        """Return the utterance of a row; None if the command implies a slot's value without saying it."""
        text = clean(row["transcription"])
        slots = []
        for slot in self.slot_types():
            if (label := row[slot].lower()) == "none":
                continue
            said = "|".join(map(re.escape, SAID.get(label, (label,))))
            if not (match := re.search(rf"\b(?:{said})\b", text)):
                return None
            slots.append(SlotValue(slot, match.group(), label, *match.span()))
        id = f"{self.name}/{split}/{Path(row['path']).stem}"
        return Utterance(
            id=id,
            split=split,
            call_id=id,
            domain="home",
            intent="_".join(row[part].lower() for part in INTENT).replace(" ", "_"),
            transcript=text,
            slots=tuple(sorted(slots, key=lambda s: s.start)),
            speaker=f"{self.name}/{row['speakerId']}",
            gold=self.gold,
        )


@cache
def _rows(file: Path) -> dict[str, dict[str, str]]:
    def sound(row: dict) -> bool:
        return all(row[name] for name in COLUMNS)

    return rows_by_recording(file, COLUMNS, "of Fluent Speech Commands", sound)


def clean(text: str) -> str:
    """Return text in lower case, without punctuation except the apostrophe."""
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("’", "'")).split())
