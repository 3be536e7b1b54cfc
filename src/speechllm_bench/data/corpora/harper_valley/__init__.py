"""HarperValleyBank (Wu et al., 2010.13929): role-played calls to a bank, each about one of eight tasks.

It is the public corpus most similar to the papers' private calls: it has dialogue context and slots. Nothing
is downloaded. The folder `data` of github.com/cricketclub/gridspace-stanford-harper-valley is expected at

    $SPEECHLLM_BENCH_DATA/harper_valley/{metadata,transcript}/<sid>.json    audio/caller/<sid>.wav

Callers' turns are the utterances. Earlier turns of both speakers are their context. The slots, their spans
and the splits are ours. A call's record lists the values that the caller should say. A slot is filled if a
turn contains its value in words (`spoken.py`). A turn with only part of a value, or with other words for it,
is left out, and so is an unintelligible one. Splits are by caller (protocol, rule 1): only A-test and B-test
share callers, as in the call centre, so that they differ in task alone. Names and similar values repeat
across splits. The task in `HELD_OUT` occurs only in B-test. The corpus has no labels of entities
or sentiment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import numpy as np

from speechllm_bench.data.audio import SAMPLE_RATE, read_audio
from speechllm_bench.data.corpora.harper_valley import spoken
from speechllm_bench.data.corpora.published import file_hash, published_file
from speechllm_bench.data.corpora.recorded import Recorded
from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import SlotValue, Turn, Utterance

NAME, COMPANY = "harper_valley", "harper valley national bank"
SPLITS = {"train": range(7), "validation": range(7, 8), "A-test": range(8, 10), "B-test": range(8, 10)}
"""Tenths of the callers in each split, by a hash of the caller's id. `HELD_OUT` separates A- and B-test."""
HELD_OUT = ("pay bill",)
LONGEST = 30  # seconds, the length of Whisper's input
NOT_UNDERSTOOD = "[unintelligible]"

KEYS = {
    "first and last name": ("caller_name", spoken.as_written),
    "replacement card type": ("card_type", spoken.as_written),
    "balance check account type": ("balance_account", spoken.as_written),
    "transfer source account": ("source_account", spoken.as_written),
    "transfer destination account": ("destination_account", spoken.as_written),
    "transfer amount": ("transfer_amount", spoken.amount),
    "day": ("appointment_day", spoken.as_written),
    "time": ("appointment_time", spoken.clock),
    "phone": ("phone_number", spoken.digits),
    "home address": ("home_address", spoken.address),
    "company name": ("company_name", spoken.as_written),
    "money amount": ("bill_amount", spoken.amount),
    "company address": ("company_address", spoken.address),
}
"""Slot of each key in a record, and the pattern of its spoken value. Other keys are what agents say."""


class HarperValley(Recorded):
    name = NAME
    gold = ("transcript", "slots", "domain", "intent")
    splits = SPLITS
    dialogue = True
    slots = Path(__file__).with_name("slots.yaml")
    published: ClassVar = {"calls": 1446}

    def turns(self, split: str) -> Iterator[Utterance]:
        for sid in _sids():
            if _is_of(sid, split):
                yield from self._turns(sid, split)

    def files(self) -> str:
        read = sha256()
        for sid in _sids():
            for folder in ("metadata", "transcript"):
                read.update(f"{sid} {file_hash(_json(folder, sid))}\n".encode())
        return read.hexdigest()

    def size(self, part: str) -> int:
        return len(_sids())

    def recording(self, utterance: Utterance) -> np.ndarray:
        sid, index = utterance.id.rpartition("/")[2].split("-")
        segment = next(s for s in _segments(sid) if s["index"] == int(index))
        file = self.file("audio") / "caller" / f"{sid}.wav"
        whole = read_audio(file)
        start = round(segment["start_ms"] * SAMPLE_RATE / 1000)
        end = start + round(segment["duration_ms"] * SAMPLE_RATE / 1000)
        if start >= len(whole):
            raise UserError(
                f"{file} lasts {len(whole) / SAMPLE_RATE:.2f} s, and its transcript has a turn at "
                f"{start / SAMPLE_RATE:.2f} s; fetch the recording again"
            )
        return whole[start:end]

    def _turns(self, sid: str, split: str) -> Iterator[Utterance]:
        caller, task, told = _record(sid)
        context: list[Turn] = []
        for place, segment in enumerate(_segments(sid)):
            text, role = segment["text"], segment["speaker_role"]
            usable = role == "caller" and text and NOT_UNDERSTOOD not in text
            if usable and segment["duration_ms"] <= 1000 * LONGEST:
                slots = filled(told, text)
                if slots is not None:
                    yield Utterance(
                        id=f"{NAME}/{split}/{sid}-{segment['index']}",
                        split=split,
                        call_id=f"{NAME}/{split}/{sid}",
                        turn_index=place,
                        domain=task.replace(" ", "_"),
                        company=COMPANY,
                        intent=task.replace(" ", "_"),
                        transcript=text,
                        slots=slots,
                        context=tuple(context),
                        speaker=f"{NAME}/{caller}",
                        gold=self.gold,
                    )
            if text:
                context.append(Turn("caller" if role == "caller" else "agent", text))


@cache
def _sids() -> list[str]:
    return sorted(file.stem for file in published_file(NAME, "transcript").glob("*.json"))


def _json(folder: str, sid: str) -> Path:
    return published_file(NAME, folder) / f"{sid}.json"


@cache
def _record(sid: str) -> tuple[str, str, dict[str, str]]:
    """Return the caller's id, the task, and the values in the call's record by its own keys."""
    file = _json("metadata", sid)
    try:
        record = runs.read_json(file, "fetch it again")
        told = dict(record["caller"]["metadata"])
        for task in record["tasks"]:
            told |= task
        return (
            str(record["caller"]["speaker_id"]),
            str(told.pop("task_type")),
            {k: str(v) for k, v in told.items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} is no record of a call (it has no {error}); fetch it again") from None


@cache
def _segments(sid: str) -> list[dict]:
    """Return the segments of both speakers in the order of their start times, with cleaned text."""
    file = _json("transcript", sid)
    try:
        found = runs.read_json(file, "fetch it again")
        kept = [s | {"text": clean(s["human_transcript"])} for s in found if s.get("human_transcript")]
        times = ("start_timestamp_ms", "start_ms", "duration_ms", "index")
        return sorted(kept, key=lambda s: tuple(int(s[key]) for key in times))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} is no transcript of a call (it has no {error}); fetch it again") from None


def clean(text: str) -> str:
    """Return text in lower case without noises ("[noise]"). The mark of unintelligible speech stays."""
    text = re.sub(r"\[(?!unintelligible\])[^\]]*\]|<[^>]*>|~", " ", text.lower())
    return " ".join(text.split())


def _is_of(sid: str, split: str) -> bool:
    caller, task, _ = _record(sid)
    tenth = int.from_bytes(sha256(f"{NAME} {caller}".encode()).digest()[:4], "big") % 10
    return tenth in SPLITS[split] and (task in HELD_OUT) == (split == "B-test")


def filled(told: dict[str, str], text: str) -> tuple[SlotValue, ...] | None:
    """Return the slots that a turn fills; None if it says a value in part or otherwise, or other numbers."""
    slots, spans = [], []
    for key, value in told.items():
        if key not in KEYS:
            continue
        slot, pattern = KEYS[key]
        if (span := spoken.find_value(pattern, value, text)) is None:
            if spoken.told_otherwise(value, text):
                return None
            continue
        spans.append(span)
        slots.append(SlotValue(slot, text[slice(*span)], value, *span))
    if spoken.other_numbers(text, spans):
        return None
    return tuple(sorted(slots, key=lambda s: (s.start, s.slot)))
