"""The embedded annotator of entities: gold with drawn errors. The filters can remove only some of them.

The filters of 2509.04473 remove phrases that were not said and meaningless tags. With only such errors, the
labels would be perfect after filtering. So this annotator also omits entities, confuses tags, moves the start
or end of an entity, and labels ordinary words.

Labels depend only on the turn, the seed, the noise and the training turns. An error at some noise is the same
error at any higher noise, so levels of noise are paired.
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
"""Kinds of errors, with equal probabilities. Each gold entity can have one error, and so can each turn."""

MEANINGLESS = ("misc", "other", "thing", "entity", "unknown")  # tags that LLMs use when no tag fits


@dataclass(frozen=True)
class Drawn:
    """Each gold entity is wrong with probability `noise`, and each turn gets an added entity with half of it.

    With half, both kinds of errors are about equally frequent: a turn has 0.6 entities. An added entity that
    was not said comes from a shot, since LLMs copy from their examples.
    """

    seed: int
    noise: float  # 0 to 1
    shots: Sequence[Utterance]

    def annotate(self, questions: Sequence[Question]) -> Annotated[list[tuple[str, str]]]:
        return Annotated([self.labels(question.utterance) for question in questions])

    def labels(self, utterance: Utterance) -> list[tuple[str, str]]:
        """Return (tag, phrase) of each entity in spoken order, with an added entity last."""
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
        """Return the generator for the error at a place, or None if there is no error."""
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
    """Return the entity with a drawn error. It is omitted if a boundary should move but cannot."""
    kind = rng.choice(ENTITY_ERRORS)
    if kind == "wrong tag":
        return [(rng.choice([tag for tag in ENTITY_TAGS if tag != entity.tag]), entity.text)]
    if kind == "meaningless tag":
        return [(rng.choice(MEANINGLESS), entity.text)]
    if kind == "wrong boundary" and (moved := list(_moved(entity, transcript))):
        return [(entity.tag, rng.choice(moved))]
    return []


def _moved(entity: Entity, transcript: str) -> Iterator[str]:
    """Yield the entity's phrase, a word longer or shorter at either end."""
    words = entity.text.split()
    if len(words) > 1:
        yield " ".join(words[1:])
        yield " ".join(words[:-1])
    if before := transcript[: entity.start].split():
        yield f"{before[-1]} {entity.text}"
    if behind := transcript[entity.end :].split():
        yield f"{entity.text} {behind[0]}"


def _ordinary_words(utterance: Utterance) -> list[str]:
    uncovered, end = [], 0
    for entity in utterance.entities:
        uncovered += utterance.transcript[end : entity.start].split()
        end = entity.end
    uncovered += utterance.transcript[end:].split()
    return list(dict.fromkeys(uncovered))
