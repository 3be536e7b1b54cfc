"""SLURP (Bastianelli et al., EMNLP 2020): requests to a home assistant, each read aloud by several people.

It replaces the papers' private calls in profile `paper`. Nothing is downloaded. The files are expected at

    $SPEECHLLM_BENCH_DATA/slurp/{train,devel,test}.jsonl, metadata.json    dataset/slurp of its repository
    $SPEECHLLM_BENCH_DATA/slurp/slurp_real/*.flac                          slurp_real.tar.gz, Zenodo 4274930

Every recording is an utterance. The division of SLURP's test set into two is ours. The scenarios in
`HELD_OUT` occur only in B-test, together with the slot types that are `ood` in slots.yaml. A turn of another
scenario that fills such a slot is left out. SLURP's splits are kept, so people and values of the test may
also occur in training, which rule 1 of the protocol forbids for the embedded corpus. The corpus has no
dialogue context, no entity tags and no sentiment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora.published import file_hash
from speechllm_bench.data.corpora.recorded import Tabled
from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import SlotType, SlotValue, Utterance

HELD_OUT = ("recommendation", "takeaway", "transport")
METADATA, AUDIO = "metadata.json", "slurp_real"
GOLD_KEYS = ("scenario", "action", "tokens", "entities", "recordings")


class Slurp(Tabled):
    name = "slurp"
    version = "2"
    gold = ("transcript", "slots", "domain", "intent")
    splits: ClassVar = {"train": "train", "validation": "devel", "A-test": "test", "B-test": "test"}
    slots = Path(__file__).with_name("slots.yaml")
    published: ClassVar = {"train": 50628, "validation": 8690, "A-test": 13078}  # A-test with B-test

    def turns(self, split: str) -> Iterator[Utterance]:
        for row in rows(self.table(split), "slurp_id", "sentence", *GOLD_KEYS):
            if self._is_of(row, split):
                yield from self._recordings(row, split)

    def files(self) -> dict[str, str]:
        names = (*dict.fromkeys(f"{name}.jsonl" for name in self.splits.values()), METADATA)
        return {name: file_hash(self.file(name)) for name in names}

    def size(self, part: str) -> int:
        return sum(len(row["recordings"]) for row in rows(self.table(part), "slurp_id", "recordings"))

    def recording(self, utterance: Utterance) -> np.ndarray:
        return read_audio(self.file(AUDIO) / f"{utterance.id.rpartition('/')[2]}.flac")

    def table(self, split: str) -> Path:
        return self.file(f"{self.splits[split]}.jsonl")

    def _is_of(self, row: dict, split: str) -> bool:
        if split == "B-test":
            return row["scenario"] in HELD_OUT
        return row["scenario"] not in HELD_OUT and not any(self._slot_type(e).ood for e in row["entities"])

    def _slot_type(self, entity: dict) -> SlotType:
        try:
            return self.slot_types()[entity["type"]]
        except KeyError:
            raise UserError(
                f"SLURP's entity type '{entity['type']}' is not in slots.yaml; add a line for it there"
            ) from None

    def _recordings(self, row: dict, split: str) -> Iterator[Utterance]:
        """Yield one utterance per recording of a request."""
        speakers = _speakers(self.file(METADATA))
        text, places = spelled([token["surface"] for token in row["tokens"]], row["sentence"])
        slots: dict[str, SlotValue] = {}
        for entity in row["entities"]:  # the first value of a repeated slot, since an answer has one per slot
            start, end = places[entity["span"][0]][0], places[entity["span"][-1]][1]
            value = SlotValue(self._slot_type(entity).name, text[start:end], text[start:end], start, end)
            slots.setdefault(value.slot, value)
        for recording in row["recordings"]:
            name = Path(recording["file"]).stem
            if recording["file"] not in speakers:
                raise UserError(f"{METADATA} does not know the recording {recording['file']}; fetch it again")
            yield Utterance(
                id=f"slurp/{split}/{name}",
                split=split,
                call_id=f"slurp/{split}/{row['slurp_id']}",
                domain=row["scenario"],
                intent=f"{row['scenario']}_{row['action']}",
                transcript=text,
                slots=tuple(sorted(slots.values(), key=lambda s: s.start)),
                speaker=speakers[recording["file"]],
                gold=self.gold,
            )


def rows(path: Path, *keys: str) -> list[dict]:
    """Return the JSON objects of a file, one per line. Raises UserError for a line without these keys."""
    found = []
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # JSON strings may contain others
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            raise UserError(f"{path.name}, line {number}: not readable JSON; fetch the file again") from None
        if not isinstance(found[-1], dict):
            raise UserError(f"{path.name}, line {number}: not a JSON object; is it a SLURP file?")
        if missing := [key for key in keys if key not in found[-1]]:
            raise UserError(f"{path.name}, line {number}: no {', '.join(missing)}; is it a SLURP file?")
    return found


@cache
def _speakers(file: Path) -> dict[str, str]:
    try:
        return {
            recording: about["usrid"]
            for row in runs.read_json(file, "fetch it again").values()
            for recording, about in row["recordings"].items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{file} has no recordings with usrid; is it SLURP's {METADATA}?") from error


def spelled(tokens: list[str], sentence: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a request as it is written ("what's"), and the span of each token ("what", "'s") in it.

    In a few rows the sentence differs from the tokens. Then the text is the tokens joined by spaces, since
    these are annotated.
    """
    text, tokens = " ".join(sentence.lower().split()), [" ".join(token.lower().split()) for token in tokens]
    places, at = [], 0
    for token in tokens:
        at += text.startswith(" ", at)
        if not text.startswith(token, at):
            return spelled(tokens, " ".join(tokens))
        places.append((at, at + len(token)))
        at += len(token)
    return (text, places) if at == len(text) else spelled(tokens, " ".join(tokens))
