"""Defines a task as one object: its questions, the parser and counts of its answers, and the gold it needs.

Configuration, training, scores and the main table use the objects in `tasks.TASKS`. Some further tables,
figures and commands are about a single task and name it, such as F1 by slot or the labels of entities.
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

if TYPE_CHECKING:  # at run time this would be a circular import: trace imports slots, slots this module
    from speechllm_bench.tasks.trace import Trace

Parse = Callable[[str], Any]
"""Parses the text of an answer; returns None if it cannot be parsed."""


@dataclass(frozen=True)
class Draw:
    """Conditions for drawing a question on an utterance."""

    slot_types: Mapping[str, SlotType]  # of the corpus, by name
    rng: random.Random
    ood: bool = False  # True: asks for slot types that training never asks for
    training: bool = False  # False: for an evaluation, which is the same for every model
    style: PromptStyle | None = None  # changes the words of the prompt and no draw


@dataclass(frozen=True)
class Counted:
    """Counts of answers, from which a score is computed."""

    counts: dict[str, list]  # by `Metric.counts`, one entry per answer
    versions: dict[str, int]  # of the metrics' modules
    further: dict[str, object] = field(default_factory=dict)  # further content of a score, plain JSON


@dataclass(frozen=True)
class Task:
    """A task with its questions, parser, counts, metrics and needs.

    `example(utterance, draw)` returns a question on an utterance. `parse` of its target is the gold answer.

    A change of a question or a target raises `version`, and `runs.NUMERICS_VERSION` too. Digests do not hold
    the task's version, so by itself it makes no stored run missing: reports refuse to mix old and new runs.
    """

    name: str  # in studies, scores and predictions
    version: int  # raised with every change of a question or a target
    example: Callable[..., Example]
    parse: Parse
    count: Callable[[Sequence[Prediction], Parse], Counted]
    metrics: tuple[Metric, ...]  # in the order of scores and columns; two tasks may share one
    main: Metric  # decides which of two systems is better
    gold: tuple[Gold, ...]  # gold fields that an utterance needs for this task
    how: str = ""  # a sentence on its metrics in the caption of tables

    # Only some tasks have the following.
    asking: tuple[str, ...] = ()  # further keywords of `example`, which an evaluation may fix
    answerers: tuple[str, ...] = ()  # names in `evaluation.answerers` of its answerers without a model
    instructions: tuple[str, ...] = ()  # all its spoken instructions; `Example.instruction` is one of them
    error_kinds: Callable[[Sequence[Prediction], Parse], Mapping[str, int]] | None = None  # count by kind
    labelled: Callable[[Iterable[tuple[str, str]]], str] | None = None  # target from an annotator's entities
    # Returns a stored question with its trace in the form of this task. None: the task cannot use these.
    put: Callable[[Example, Trace, PromptStyle | None], Example] | None = None
    traced: bool = False  # its answers may have a trace, so more tokens are decoded
    thinks: bool = False  # its answers should have a trace
    asks_of_gold: bool = False  # its question depends on gold, so it cannot be asked of a new recording
    plain: Callable[[Example], Example] | None = None  # returns the question without the parts for traces

    def can_ask(self, utterance: Utterance) -> bool:
        """Whether the utterance has the gold that this task needs."""
        return set(self.gold) <= set(utterance.gold)


def predicted(example: Example, utterance: Utterance, raw: str) -> Prediction:
    """Return an answer that no LLM generated, as the prediction for an example."""
    return Prediction(
        example_id=example.id,
        utterance_id=utterance.id,
        speaker=utterance.speaker,
        task=example.task,
        raw=raw,
        gold=example.target,
        asked=example.asked,
        n_tokens=0,
        transcript=utterance.transcript,
    )


def answers(predictions: Sequence[Prediction], parse: Parse) -> list[tuple]:
    """Return (gold answer, given answer) of every prediction, both parsed.

    Raises UserError if a gold answer cannot be parsed.
    """
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
