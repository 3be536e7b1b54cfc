"""Annotators: who writes what a model learns from besides gold, traces (2510.19326) or entities (2509.04473).

All are `Annotator`s: questions in, for each an answer or None out. Questions are of the task `slots` where a
trace is written and of `ner` where entities are labelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from speechllm_bench.storage.schema import Example, Utterance

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Question:
    """A turn, and what is asked of it; the target of `example` is the gold answer."""

    utterance: Utterance
    example: Example


@dataclass(frozen=True)
class Annotated(Generic[Answer]):
    """Answers of an annotator to some questions, in their order."""

    answers: list[Answer | None]  # None: no answer to this question could be used
    rejected: Counter[str] = field(default_factory=Counter)  # rejected texts by each of their faults
    cost: str = "nothing"


class Annotator(Protocol[Answer]):
    def annotate(self, questions: Sequence[Question]) -> Annotated[Answer]: ...


@dataclass(frozen=True)
class Request(Generic[Answer]):
    """How an LLM is asked for an answer, how its text is read, and what makes the answer useless."""

    messages: Callable[[Question], list[dict]]
    parse: Callable[[str], Answer]
    faults: Callable[[Answer, Question], list[str]]
    unit: str  # what a progress bar calls the answers
