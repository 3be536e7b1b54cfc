"""The embedded annotator of entities: gold with drawn errors, some that the filters see and some they do not.

The filters of 2509.04473 take out what was not said and what has no tag. An annotator whose only errors were
those would be perfect after them by construction, so this one also leaves entities out, takes one tag for
another, misses where an entity begins or ends, and labels ordinary words.

Labels are a function of the turn, the seed, the noise and the training turns alone. What is wrong at some
noise is wrong in the same way at any larger one, so that levels of noise are paired.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from speechllm_bench.data.annotators import Annotated, Question
from speechllm_bench.data.annotators.entities import gold
from speechllm_bench.storage.schema import ENTITY_TAGS, Entity, Utterance
from speechllm_bench.tasks.prompt import contains

ENTITY_ERRORS = ("omitted", "wrong tag", "wrong boundary", "meaningless tag")
TURN_ERRORS = ("not said", "no entity")
"""Drawn with equal chances, once an error is drawn: of every gold entity, and once more of every turn."""

MEANINGLESS = ("misc", "other", "thing", "entity", "unknown")  # tags that LLMs fall back to


@dataclass(frozen=True)
class Drawn:
    """Each gold entity comes out wrong with probability `noise`, and half as many turns get one too many.

    Half, since that is about as many: a turn has 0.6 entities. What was not said is the entity of a shot:
    LLMs copy from their examples.
    """

    seed: int
    noise: float  # 0 to 1
    shots: Sequence[Utterance]

    def annotate(self, questions: Sequence[Question]) -> Annotated[list[tuple[str, str]]]:
        return Annotated([self.labels(question.utterance) for question in questions])

    def labels(self, utterance: Utterance) -> list[tuple[str, str]]:
        """Tag and phrase of each entity, in the order in which they are said, one that is too many last."""
        found: list[tuple[str, str]] = []
        for i, entity in enumerate(utterance.entities):
            if rng := self._error(f"{utterance.id}/{i}", self.noise):
                found += _wrong(entity, utterance.transcript, rng)
            else:
                found.append((entity.tag, entity.text))
        if rng := self._error(utterance.id, self.noise / 2):
            found += self._too_many(utterance, rng)
        return found

    def _error(self, place: str, probability: float) -> random.Random | None:
        """The number that the error at a place is drawn from, None where there is none."""
        rng = random.Random(f"{self.seed}/entities/{place}")
        return rng if rng.random() < probability else None

    def _too_many(self, utterance: Utterance, rng: random.Random) -> list[tuple[str, str]]:
        if rng.choice(TURN_ERRORS) == "not said":
            others = [label for shot in self.shots for label in gold(shot)]
            drawn = [label for label in others if not contains(utterance.transcript, label[1])]
        else:
            drawn = [(tag, word) for word in _ordinary_words(utterance) for tag in ENTITY_TAGS]
        return [rng.choice(drawn)] if drawn else []


def _wrong(entity: Entity, transcript: str, rng: random.Random) -> list[tuple[str, str]]:
    """The entity with a drawn error; left out where a boundary is to move and nothing else is said."""
    kind = rng.choice(ENTITY_ERRORS)
    if kind == "wrong tag":
        return [(rng.choice([tag for tag in ENTITY_TAGS if tag != entity.tag]), entity.text)]
    if kind == "meaningless tag":
        return [(rng.choice(MEANINGLESS), entity.text)]
    if kind == "wrong boundary" and (moved := list(_moved(entity, transcript))):
        return [(entity.tag, rng.choice(moved))]
    return []


def _moved(entity: Entity, transcript: str) -> Iterator[str]:
    """The entity a word longer or shorter, at either end."""
    words = entity.text.split()
    if len(words) > 1:
        yield " ".join(words[1:])
        yield " ".join(words[:-1])
    if before := transcript[: entity.start].split():
        yield f"{before[-1]} {entity.text}"
    if behind := transcript[entity.end :].split():
        yield f"{entity.text} {behind[0]}"


def _ordinary_words(utterance: Utterance) -> list[str]:
    """The words that no entity covers, each once."""
    uncovered, end = [], 0
    for entity in utterance.entities:
        uncovered += utterance.transcript[end : entity.start].split()
        end = entity.end
    uncovered += utterance.transcript[end:].split()
    return list(dict.fromkeys(uncovered))
