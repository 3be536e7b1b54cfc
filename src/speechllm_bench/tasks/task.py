"""A task as one object: what it asks, how an answer is read and counted, and what it needs.

The rest of the suite asks the objects in `tasks.TASKS` and names no task itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Example, Gold, Prediction, SlotType, Utterance
from speechllm_bench.tasks.metric import Metric
from speechllm_bench.tasks.prompt import PromptStyle

if TYPE_CHECKING:  # which reads the answers of slots
    from speechllm_bench.tasks.trace import Trace

Parse = Callable[[str], Any]
"""A parser: an answer's text to what it says, or None where it cannot be parsed."""


@dataclass(frozen=True)
class Draw:
    """The conditions that a question of an utterance is drawn under."""

    slot_types: Mapping[str, SlotType]  # of the corpus, by name
    rng: random.Random
    ood: bool = False  # of slot types that training never asks for
    training: bool = False  # and not for an evaluation, which every model is asked alike
    style: PromptStyle | None = None  # changes the words of the prompt and no draw


@dataclass(frozen=True)
class Counted:
    """The counts of answers: what a score is made of."""

    counts: dict[str, list]  # by the name that metrics give them, an entry an answer
    versions: dict[str, int]  # of the metrics' modules
    further: dict[str, object] = field(default_factory=dict)  # what a score holds besides, plain JSON


@dataclass(frozen=True)
class Task:
    """A task with its question, parser, counts and metrics, and what it needs.

    `example(utterance, draw)` asks an utterance, with parse(example(...).target) equal to the gold answer.
    """

    name: str  # in studies, scores and predictions
    version: int  # raised with every change of a question or a target
    example: Callable[..., Example]
    parse: Parse
    count: Callable[[Sequence[Prediction], Parse], Counted]
    metrics: tuple[Metric, ...]  # in the order of scores and columns; two tasks may share one
    main: Metric  # decides which of two systems is better
    gold: tuple[Gold, ...]  # fields of an utterance that it is asked by
    how: str = ""  # a sentence on its metrics in the caption of tables

    # What only some tasks have.
    asking: tuple[str, ...] = ()  # further keywords of `example`: what an evaluation can fix of a question
    answerers: tuple[str, ...] = ()  # names in `evaluation.answerers` of those that answer it without a model
    instructions: tuple[str, ...] = ()  # all that it may ask aloud; `Example.instruction` is one of them
    error_kinds: Callable[[Sequence[Prediction], Parse], Mapping[str, int]] | None = None  # how often each
    labelled: Callable[[Iterable[tuple[str, str]]], str] | None = None  # target of an annotator's entities
    # The form that it gives to a stored question with its trace; None: these questions are not its own.
    put: Callable[[Example, Trace, PromptStyle | None], Example] | None = None
    traced: bool = False  # its answers may hold a trace, so they are decoded for longer
    thinks: bool = False  # its answers should hold a trace
    plain: Callable[[Example], Example] | None = None  # the same question without what only traces add

    def can_ask(self, utterance: Utterance) -> bool:
        """Whether the utterance has gold for this task."""
        return set(self.gold) <= set(utterance.gold)


def answers(predictions: Sequence[Prediction], parse: Parse) -> list[tuple]:
    """Gold and said of every prediction; UserError where a gold answer cannot be parsed."""
    found = []
    for prediction in predictions:
        gold = parse(prediction.gold)
        if gold is None:
            raise UserError(
                f"the gold answer of example '{prediction.example_id}' cannot be parsed: "
                f"{prediction.gold!r}; was it made by another task?"
            )
        found.append((gold, parse(prediction.raw)))
    return found
