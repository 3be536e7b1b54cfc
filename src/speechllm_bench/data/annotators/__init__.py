"""Annotators: sources of training data besides gold. They write traces (2510.19326) or entities (2509.04473).

All have a method `annotate`: questions in, `Annotated` out, with an answer or None for each. The questions
belong to the task `slots` for traces, and to the task `ner` for entities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from speechllm_bench.storage.schema import Example, Utterance

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Question:
    """A turn and a question on it. The target of `example` is the gold answer."""

    utterance: Utterance
    example: Example


@dataclass(frozen=True)
class Annotated(Generic[Answer]):
    """Answers of an annotator, in the order of the questions."""

    answers: list[Answer | None]  # None: no usable answer to this question
    rejected: Counter[str] = field(default_factory=Counter)  # number of rejected texts by fault
    cost: str = "nothing"


@dataclass(frozen=True)
class Request(Generic[Answer]):
    """A request to an LLM: its messages, the parser of its text, and the check for faults of the answer."""

    messages: Callable[[Question], list[dict]]
    parse: Callable[[str], Answer]
    faults: Callable[[Answer, Question], list[str]]
    unit: str  # name of the answers in a progress bar
