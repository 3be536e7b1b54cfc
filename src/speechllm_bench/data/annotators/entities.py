"""Labelling of entities by an LLM (2509.04473, method): its few-shot examples, its request, and two filters.

The paper's LLM labels transcripts with few-shot examples that are balanced over tags. The filters then remove
entities that are not in the transcript, and entities with a meaningless tag.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from speechllm_bench.data.annotators import Question, Request
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import ENTITY_TAGS, Example, Utterance
from speechllm_bench.tasks import ner
from speechllm_bench.tasks.prompt import AUDIO, contains

Labels = Sequence[tuple[str, str]]
"""(tag, phrase) of each entity of a turn, as `ner.parse` returns them."""

SHOTS = 24  # few-shot examples of an annotator: three per tag, and three turns without an entity
_NOTHING = "nothing"  # class of turns without an entity, besides the tags

_MEANINGS = {
    "WHEN": "a date, a time or a span of time",
    "QUANT": "an amount, a price, a number of things, an ordinal or a percentage",
    "PLACE": "a city, a country, a region or another place",
    "NORP": "a nationality, a religious or a political group",
    "ORG": "a company, an authority or another organisation",
    "LAW": "a named law, regulation or treaty",
    "PERSON": "the name of a person",
}
"""Meanings of the tags, after OntoNotes, whose tags SLUE combines (2111.10367, table of tags)."""

_SYSTEM = (
    "You label named entities in what people say. Answer with one JSON object and nothing "
    "else: for each tag that occurs its phrase, or the list of its phrases in the order in which they are "
    "said, copied word for word; {} where there is none. The tags: "
    + "; ".join(f"{ner.SPOKEN[tag]}, {meaning}" for tag, meaning in _MEANINGS.items())
    + "."
)


def gold(utterance: Utterance) -> list[tuple[str, str]]:
    return [(entity.tag, entity.text) for entity in utterance.entities]


def few_shots(train: Sequence[Utterance], n: int = SHOTS) -> list[Utterance]:
    """Return n turns as few-shot examples, balanced over tags, and the same at each call.

    Turns without an entity count as a tag of their own. Raises UserError for turns of a split other than
    train, since an annotator of training data must not see gold of a test.
    """
    if other := {u.split for u in train} - {"train"}:
        raise UserError(f"annotators learn from the split train alone, not from {', '.join(sorted(other))}")
    waiting = random.Random("few shots").sample(list(train), len(train))
    classes = [tag for tag in (*ENTITY_TAGS, _NOTHING) if any(tag in _classes(u) for u in waiting)]
    shown: Counter[str] = Counter(dict.fromkeys(classes, 0))
    chosen: list[Utterance] = []
    while len(chosen) < n and classes:
        rarest = min(classes, key=shown.__getitem__)
        found = next((u for u in waiting if rarest in _classes(u)), None)
        if found is None:
            classes.remove(rarest)
            continue
        waiting.remove(found)
        chosen.append(found)
        shown.update(_classes(found))
    return chosen


def shown(question: Question, shots: Sequence[Utterance]) -> Example:
    """Return the question after gold examples of other turns. The turn itself is never an example."""
    examples = [
        f"caller: {shot.transcript}\n{ner.INSTRUCTION[None]}\n{ner.target(gold(shot))}\n"
        for shot in shots
        if shot.id != question.utterance.id
    ]
    return replace(question.example, prompt="".join(examples) + question.example.prompt)


def request(shots: Sequence[Utterance]) -> Request[Labels | None]:
    def messages(question: Question) -> list[dict]:
        asked = shown(question, shots).prompt.replace(AUDIO, f" {question.utterance.transcript}")
        return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": asked}]

    def faults(labels: Labels | None, question: Question) -> list[str]:
        return ["no JSON object"] if labels is None else []

    return Request(messages, read, faults, "entities")


def read(text: str) -> Labels | None:
    """Return the labels in an LLM's text; None if it contains no JSON object.

    A code fence or sentences around the object are ignored. Phrases become lower case, as in transcripts.
    """
    labels = ner.parse(text[text.find("{") : text.rfind("}") + 1])
    return labels and [(tag, phrase.lower()) for tag, phrase in labels]


def said(labels: Labels, transcript: str) -> list[tuple[str, str]]:
    """Return the labels whose phrase is in the transcript as whole words. This is the first filter."""
    return [(tag, phrase) for tag, phrase in labels if contains(transcript, phrase)]


def meaningful(labels: Labels, transcript: str) -> list[tuple[str, str]]:
    """Return the labels with a known tag. This is the second filter."""
    return [(tag, phrase) for tag, phrase in labels if tag in ENTITY_TAGS]


FILTERS = {"in the transcript": said, "known tags": meaningful}
"""The filters in the paper's order, by the labels that they keep."""


def filtered(labels: Labels, transcript: str) -> Labels:
    for keep in FILTERS.values():
        labels = keep(labels, transcript)
    return labels


def _classes(utterance: Utterance) -> list[str]:
    """Return the tags of a turn's entities, or the class of turns without entities."""
    return [entity.tag for entity in utterance.entities] or [_NOTHING]
