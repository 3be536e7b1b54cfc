"""Annotators: who writes the traces that a model learns from, `embedded` or `api`.

Both are `Annotator`s: questions of the task `slots` in, for each its trace or None out. A trace is given
out only where `checks.faults` finds nothing wrong with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from speechllm_bench.data.tasks.trace import Trace
from speechllm_bench.schema import Example, Utterance


@dataclass(frozen=True)
class Question:
    """A turn, and what is asked of it; the target of `example` is the gold answer."""

    utterance: Utterance
    example: Example


@dataclass(frozen=True)
class Annotated:
    """What an annotator made of some questions, in their order."""

    traces: list[Trace | None]  # None: no trace of this question was right
    rejected: Counter[str] = field(default_factory=Counter)  # rejected texts by each of their faults
    cost: str = "nothing"


class Annotator(Protocol):
    def annotate(self, questions: Sequence[Question]) -> Annotated: ...
