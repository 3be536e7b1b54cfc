"""Entities as an annotator labels them (2509.04473, method): what an LLM is shown, and the two filters.

The paper's LLM labels transcripts after examples that are balanced over tags; then entities that are not in
the transcript are taken out, and those with a tag that means nothing.
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
"""Tag and phrase of each entity of a turn, as `ner.parse` gives them."""

SHOTS = 24  # examples that an annotator is shown: three a tag, and three turns without an entity
_NOTHING = "nothing"  # the class of turns without an entity, beside the tags

_MEANINGS = {
    "WHEN": "a date, a time or a span of time",
    "QUANT": "an amount, a price, a number of things, an ordinal or a percentage",
    "PLACE": "a city, a country, a region or another place",
    "NORP": "a nationality, a religious or a political group",
    "ORG": "a company, an authority or another organisation",
    "LAW": "a named law, regulation or treaty",
    "PERSON": "the name of a person",
}
"""After OntoNotes, whose tags SLUE combines (2111.10367, table of tags)."""

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
    """n turns that show an annotator what is wanted, as many of each tag as can be, the same at each call.

    Turns without an entity count as a tag of their own. UserError for turns of any other split than train:
    gold of a test is not to be seen by who labels for training.
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
    """The question with gold examples of other turns before it; a question about a shot is put without it."""
    examples = [
        f"caller: {shot.transcript}\n{ner.INSTRUCTION[None]}\n{ner.target(gold(shot))}\n"
        for shot in shots
        if shot.id != question.utterance.id
    ]
    return replace(question.example, prompt="".join(examples) + question.example.prompt)


def request(shots: Sequence[Utterance]) -> Request[Labels | None]:
    """The request for entities of the API annotator."""

    def messages(question: Question) -> list[dict]:
        asked = shown(question, shots).prompt.replace(AUDIO, f" {question.utterance.transcript}")
        return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": asked}]

    def faults(labels: Labels | None, question: Question) -> list[str]:
        return ["no JSON object"] if labels is None else []

    return Request(messages, read, faults, "entities")


def read(text: str) -> Labels | None:
    """The labels in what an LLM wrote: of the object in it, without the fence or the sentence that many put
    around one; None where there is none. In lower case, as transcripts are, so that a capital is no error.
    """
    labels = ner.parse(text[text.find("{") : text.rfind("}") + 1])
    return labels and [(tag, phrase.lower()) for tag, phrase in labels]


def said(labels: Labels, transcript: str) -> list[tuple[str, str]]:
    """The first filter: without what is not in the transcript, as whole words."""
    return [(tag, phrase) for tag, phrase in labels if contains(transcript, phrase)]


def meaningful(labels: Labels, transcript: str) -> list[tuple[str, str]]:
    """The second filter: without tags that there are not."""
    return [(tag, phrase) for tag, phrase in labels if tag in ENTITY_TAGS]


FILTERS = {"in the transcript": said, "known tags": meaningful}
"""In the paper's order, by what they let through."""


def filtered(labels: Labels, transcript: str) -> Labels:
    """Labels that both filters let through."""
    for keep in FILTERS.values():
        labels = keep(labels, transcript)
    return labels


def _classes(utterance: Utterance) -> list[str]:
    """The tag of each entity, or the one of a turn without any."""
    return [entity.tag for entity in utterance.entities] or [_NOTHING]
