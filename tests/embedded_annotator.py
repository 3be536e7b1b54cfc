"""The embedded annotator: traces written from gold, in varied words; right by construction."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from speechllm_bench.data.annotators import Annotated, Question
from speechllm_bench.tasks.trace import Trace
from speechllm_bench.tasks.traced_slots import gold_trace


@dataclass(frozen=True)
class Embedded:
    seed: int

    def annotate(self, questions: Sequence[Question]) -> Annotated[Trace]:
        """A trace for every question; nothing is ever rejected."""
        rngs = [random.Random(f"{self.seed}/trace/{q.example.id}") for q in questions]
        return Annotated([gold_trace(q.utterance, q.example, rng) for q, rng in zip(questions, rngs)])
