"""SLUE phase 2, HVB (Shon et al., ACL 2023): HarperValleyBank in SLUE's splits, one recording per utterance.

Nothing is downloaded. SLUE's tables and recordings are expected as the toolkit unpacks them:

    $SPEECHLLM_BENCH_DATA/slue_hvb/slue-hvb_{fine-tune,dev,test}.tsv
    $SPEECHLLM_BENCH_DATA/slue_hvb/{fine-tune,dev,test}/<issue>_<start>_<end>.wav    in milliseconds

Only callers' utterances are used. Earlier utterances of both speakers are their context. SLUE's task is
dialogue acts, but here only transcripts have gold. Utterances longer than 30 s, the length of Whisper's
input, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora.harper_valley import COMPANY, LONGEST, NOT_UNDERSTOOD, clean
from speechllm_bench.data.corpora.published import file_hash, published_file, refuse_other_splits, table_rows
from speechllm_bench.data.corpora.scope import Scope
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Gold, SlotType, Turn, Utterance

NAME = "slue_hvb"
READER_VERSION = "1"
"""Raise it with every change of this module that changes an utterance."""

GOLD: tuple[Gold, ...] = ("transcript",)
SPLITS = {"train": "fine-tune", "validation": "dev", "A-test": "test"}
SCOPE = Scope(tuple(SPLITS), (frozenset(GOLD),), dialogue=True, recorded=True)
PUBLISHED = {"train": 11344, "validation": 1690, "A-test": 6121}  # utterances, of both speakers
NUMBERS = ("utt_index", "start_ms", "duration_ms")
COLUMNS = ("issue_id", "speaker_id", "text", "role", "intent", *NUMBERS)


def utterances(split: str, n: int | None = None) -> list[Utterance]:
    """Return the first n callers' utterances of a split (None: all).

    Raises UserError for an unknown split, and MissingInput if files are missing.
    """
    refuse_other_splits(NAME, split, SPLITS)
    return list(islice((u for call in _calls(_table(split)).values() for u in _turns(call, split)), n))


def slot_types() -> dict[str, SlotType]:
    """Return no slot types, since SLUE has none. `harper_valley` has slots of the same calls."""
    return {}


def recipe() -> dict:
    """Return what the utterances depend on: hashes of the tables. `corpus.json` has those of the audio."""
    files = {split: file_hash(_table(split)) for split in SPLITS}
    return {"corpus": NAME, "reader": READER_VERSION, "files": files}


def counts() -> dict[str, tuple[int, int]]:
    """Return the actual and the published number of utterances by split."""
    return {s: (sum(map(len, _calls(_table(s)).values())), n) for s, n in PUBLISHED.items()}


def recording(utterance: Utterance) -> np.ndarray:
    """Return samples (n,) at 16 kHz. Raises UserError for a missing or unreadable file."""
    return read_audio(
        published_file(NAME, SPLITS[utterance.split]) / f"{utterance.id.rpartition('/')[2]}.wav"
    )


def _table(split: str) -> Path:
    return published_file(NAME, f"slue-hvb_{SPLITS[split]}.tsv")


@cache
def _calls(file: Path) -> dict[str, list[dict[str, str]]]:
    """Return the table's rows by call, in spoken order."""
    calls: dict[str, list[dict[str, str]]] = {}
    for where, row in table_rows(file, COLUMNS, "SLUE's file", delimiter="\t"):
        try:
            row |= {name: str(int(float(row[name]))) for name in NUMBERS}
        except (TypeError, ValueError):
            raise UserError(f"{where}: {', '.join(NUMBERS)} are no numbers; fetch it again") from None
        calls.setdefault(row["issue_id"], []).append(row)
    return {call: sorted(rows, key=lambda row: int(row["utt_index"])) for call, rows in calls.items()}


def _turns(call: list[dict[str, str]], split: str) -> Iterator[Utterance]:
    context: list[Turn] = []
    for row in call:
        text, caller = clean(row["text"] or ""), row["role"] == "caller"
        start, length = int(row["start_ms"]), int(row["duration_ms"])
        if caller and text and NOT_UNDERSTOOD not in text and length <= 1000 * LONGEST:
            yield Utterance(
                id=f"{NAME}/{split}/{row['issue_id']}_{start}_{start + length}",
                split=split,
                call_id=f"{NAME}/{split}/{row['issue_id']}",
                turn_index=int(row["utt_index"]),
                domain=row["intent"].replace(" ", "_"),
                company=COMPANY,
                intent=row["intent"].replace(" ", "_"),
                transcript=text,
                context=tuple(context),
                speaker=f"{NAME}/{row['speaker_id']}",
                gold=GOLD,
            )
        if text:
            context.append(Turn("caller" if caller else "agent", text))
