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
from pathlib import Path
from typing import ClassVar

import numpy as np

from speechllm_bench.data.audio import read_audio
from speechllm_bench.data.corpora.harper_valley import COMPANY, LONGEST, NOT_UNDERSTOOD, clean
from speechllm_bench.data.corpora.published import table_rows
from speechllm_bench.data.corpora.recorded import Tabled
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Turn, Utterance

NUMBERS = ("utt_index", "start_ms", "duration_ms")
COLUMNS = ("issue_id", "speaker_id", "text", "role", "intent", *NUMBERS)


class SlueHvb(Tabled):
    name = "slue_hvb"
    gold = ("transcript",)
    splits: ClassVar = {"train": "fine-tune", "validation": "dev", "A-test": "test"}
    dialogue = True
    published: ClassVar = {"train": 11344, "validation": 1690, "A-test": 6121}  # of both speakers

    def turns(self, split: str) -> Iterator[Utterance]:
        for call in _calls(self.table(split)).values():
            yield from self._turns(call, split)

    def size(self, part: str) -> int:
        return sum(map(len, _calls(self.table(part)).values()))

    def recording(self, utterance: Utterance) -> np.ndarray:
        folder = self.file(self.splits[utterance.split])
        return read_audio(folder / f"{utterance.id.rpartition('/')[2]}.wav")

    def table(self, split: str) -> Path:
        return self.file(f"slue-hvb_{self.splits[split]}.tsv")

    def _turns(self, call: list[dict[str, str]], split: str) -> Iterator[Utterance]:
        context: list[Turn] = []
        for row in call:
            text, caller = clean(row["text"] or ""), row["role"] == "caller"
            start, length = int(row["start_ms"]), int(row["duration_ms"])
            if caller and text and NOT_UNDERSTOOD not in text and length <= 1000 * LONGEST:
                yield Utterance(
                    id=f"{self.name}/{split}/{row['issue_id']}_{start}_{start + length}",
                    split=split,
                    call_id=f"{self.name}/{split}/{row['issue_id']}",
                    turn_index=int(row["utt_index"]),
                    domain=row["intent"].replace(" ", "_"),
                    company=COMPANY,
                    intent=row["intent"].replace(" ", "_"),
                    transcript=text,
                    context=tuple(context),
                    speaker=f"{self.name}/{row['speaker_id']}",
                    gold=self.gold,
                )
            if text:
                context.append(Turn("caller" if caller else "agent", text))


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
