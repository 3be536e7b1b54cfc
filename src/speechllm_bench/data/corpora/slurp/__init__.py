"""SLURP (Bastianelli et al., EMNLP 2020): requests to a home assistant, each read aloud by several people.

It stands for the papers' private calls in profile `paper`. Nothing is downloaded: the files are looked for in

    $SPEECHLLM_BENCH_DATA/slurp/{train,devel,test}.jsonl, metadata.json    dataset/slurp of its repository
    $SPEECHLLM_BENCH_DATA/slurp/slurp_real/*.flac                          slurp_real.tar.gz, Zenodo 4274930

Every recording is an utterance. Ours is what makes two test sets of one: the scenarios in `HELD_OUT` come in
B-test alone, and with them the slot types that are `ood` in slots.yaml; a turn of another scenario that fills
such a slot is left out. SLURP's splits are kept: people and values of the test can be heard in training too,
which rule 1 of the protocol forbids the embedded corpus. There is no dialogue before a request, and neither
entity tags nor sentiment.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora import slot_file
from speechllm_bench.data.corpora.published import file_hash, published_file
from speechllm_bench.data.corpora.scope import Scope
from speechllm_bench.data.corpora.slurp import files
from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Gold, SlotType, SlotValue, Utterance

GOLD: tuple[Gold, ...] = ("transcript", "slots", "domain", "intent")
READER_VERSION = "2"
"""To be raised with every change of this package that changes an utterance."""

HELD_OUT = ("recommendation", "takeaway", "transport")
SPLITS = {"train": "train", "validation": "devel", "A-test": "test", "B-test": "test"}
SCOPE = Scope(tuple(SPLITS), (frozenset(GOLD),), dialogue=False, recorded=True)
PUBLISHED = {"train": 50628, "validation": 8690, "A-test": 13078}  # recordings, of the test set both parts
METADATA, AUDIO = "metadata.json", "slurp_real"
SLOTS = Path(__file__).with_name("slots.yaml")


def utterances(split: str, n: int | None = None) -> list[Utterance]:
    """The first n recordings of a split, None: all. UserError: unknown split; MissingInput: no such file."""
    if split not in SPLITS:
        raise UserError(f"corpus 'slurp' has no split '{split}'; its splits are: {', '.join(SPLITS)}")
    rows = files.rows(_file(f"{SPLITS[split]}.jsonl"), "slurp_id", "sentence", *files.GOLD_KEYS)
    return list(islice((u for row in rows if _is_of(row, split) for u in _recordings(row, split)), n))


def slot_types() -> dict[str, SlotType]:
    """All slot types by name, in- and out-of-domain."""
    return slot_file.slot_types(SLOTS)


def recipe() -> dict:
    """What the utterances depend on: the annotation files by hash. Of the audio `corpus.json` keeps one."""
    names = (*dict.fromkeys(f"{name}.jsonl" for name in SPLITS.values()), METADATA)
    hashes = {name: file_hash(_file(name)) for name in names}
    return {"corpus": "slurp", "reader": READER_VERSION, "slots": file_hash(SLOTS), "files": hashes}


def counts() -> dict[str, tuple[int, int]]:
    """How many recordings a split has, and how many its authors tell."""
    return {split: (_n_recordings(_file(f"{SPLITS[split]}.jsonl")), n) for split, n in PUBLISHED.items()}


def recording(utterance: Utterance) -> np.ndarray:
    """Samples (n,) at 16 kHz; UserError for a file that is missing or cannot be read."""
    return read_audio(_file(AUDIO) / f"{utterance.id.rpartition('/')[2]}.flac")


def _n_recordings(file: Path) -> int:
    return sum(len(row["recordings"]) for row in files.rows(file, "slurp_id", "recordings"))


def _file(name: str) -> Path:
    return published_file("slurp", name)


@cache
def _speakers(file: Path) -> dict[str, str]:
    """Who read a recording, by its file."""
    try:
        return {
            recording: about["usrid"]
            for row in runs.read_json(file, "fetch it again").values()
            for recording, about in row["recordings"].items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{file} has no recordings with usrid; is it SLURP's {METADATA}?") from error


def _is_of(row: dict, split: str) -> bool:
    if split == "B-test":
        return row["scenario"] in HELD_OUT
    return row["scenario"] not in HELD_OUT and not any(_slot_type(e).ood for e in row["entities"])


def _slot_type(entity: dict) -> SlotType:
    try:
        return slot_types()[entity["type"]]
    except KeyError:
        raise UserError(
            f"SLURP's entity type '{entity['type']}' is not in slots.yaml; add a line for it there"
        ) from None


def _recordings(row: dict, split: str) -> Iterator[Utterance]:
    """One utterance a recording of a request."""
    speakers = _speakers(_file(METADATA))
    text, places = spelled([token["surface"] for token in row["tokens"]], row["sentence"])
    slots: dict[str, SlotValue] = {}
    for entity in row["entities"]:  # of a slot filled twice the first: an answer has one value a slot
        start, end = places[entity["span"][0]][0], places[entity["span"][-1]][1]
        value = SlotValue(_slot_type(entity).name, text[start:end], text[start:end], start, end)
        slots.setdefault(value.slot, value)
    for recording in row["recordings"]:
        name = Path(recording["file"]).stem
        if recording["file"] not in speakers:
            raise UserError(f"{METADATA} does not know the recording {recording['file']}; fetch it again")
        yield Utterance(
            id=f"slurp/{split}/{name}",
            split=split,
            call_id=f"slurp/{split}/{row['slurp_id']}",
            turn_index=0,
            domain=row["scenario"],
            company="",
            intent=f"{row['scenario']}_{row['action']}",
            transcript=text,
            slots=tuple(sorted(slots.values(), key=lambda s: s.start)),
            entities=(),
            sentiment="",
            context=(),
            speaker=speakers[recording["file"]],
            gold=GOLD,
        )


def spelled(tokens: list[str], sentence: str) -> tuple[str, list[tuple[int, int]]]:
    """A request as it is written ("what's"), and where each token ("what", "'s") stands in it.

    In a few rows the sentence has other words than the tokens, which are what is annotated: these, then.
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
