"""SIT, a speech instruction task: a written question about the spoken turn, answered in a few words.

2510.15851 (Tables 1 and 7) mixes tasks of this name into training but does not give their questions, so these
questions are ours. Each answer follows from the turn's own gold and is never a slot's value:

    domain     the line of business; only for a caller's first turn        closed
    intent     what the caller wants; only for a caller's first turn       closed
    number     how many details (slots) the turn fills                     closed
    person, place, when   whether such an entity is named                  yes or no
    detail     whether the turn fills a slot of this name                  yes or no
    ending     the last three words                                        open

A yes-or-no question on entities (or slots) needs a turn with at least one of the entities above (or slots).
The right answer is yes with probability one half, or always if all of them are present. Unseen slot types
are never named.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from num2words import num2words

from speechllm_bench.metrics import exact_match, quotient
from speechllm_bench.storage.schema import Example, Gold, Prediction, SlotType, Utterance
from speechllm_bench.tasks.metric import Metric
from speechllm_bench.tasks.prompt import DIALOGUE, Wordings, user_message
from speechllm_bench.tasks.slots import spoken_name
from speechllm_bench.tasks.task import Counted, Draw, Parse, Task

NAME = "sit"
VERSION = 1
INSTRUCTION: Wordings = {
    None: "{question}",
    "english": f"Answer the question at the end in a few words.\n{DIALOGUE}\n{{question}}?",
}
WORDINGS = {
    "domain": (
        "what kind of company is called",
        "which line of business is this",
        "name the industry of the company",
    ),
    "intent": ("what does the caller want", "why does the caller ring", "name the reason for the call"),
    "number": (
        "how many details does the caller give",
        "count the details that are given",
        "how many facts are told",
    ),
    "person": ("is a person named", "does the caller name a person", "do you hear the name of a person"),
    "place": ("is a place named", "does the caller name a place", "do you hear the name of a place"),
    "when": ("is a date or time given", "does the caller give a date or time", "do you hear a date or time"),
    "detail": ("is the {} given", "does the caller give the {}", "do you hear the {}"),
    "ending": ("repeat how the turn ends", "what are the last words", "say the end of it again"),
}
"""Wordings of each kind of question; {} is a slot's name."""

ENTITIES = {"person": "PERSON", "place": "PLACE", "when": "WHEN"}
LAST_WORDS = 3


class Question(NamedTuple):
    asks: str  # a key of WORDINGS
    text: str
    answer: str


def question(
    utterance: Utterance, slot_types: Mapping[str, SlotType], rng: random.Random, details: bool = True
) -> Question:
    """Return a drawn question on a turn. Without `details`, no question names a slot."""
    first = all(turn.role != "caller" for turn in utterance.context)
    tags = {entity.tag for entity in utterance.entities}
    named = {asks: tag in tags for asks, tag in ENTITIES.items()}
    filled = {s.slot for s in utterance.slots}
    near = [t for t in slot_types.values() if not t.ood and t.domain in (utterance.domain, "shared")]
    given = {t.name: t.name in filled for t in near}
    kinds = ["number", "ending", *(["domain", "intent"] if first else [])]
    kinds += ["entity"] * any(named.values()) + ["detail"] * (details and any(given.values()))
    kind = rng.choice(kinds)
    if kind == "entity":
        kind, there = _there_or_not(named, rng)
        return Question(kind, rng.choice(WORDINGS[kind]), "yes" if there else "no")
    if kind == "detail":
        name, there = _there_or_not(given, rng)
        return Question(kind, rng.choice(WORDINGS[kind]).format(spoken_name(name)), "yes" if there else "no")
    answers = {
        "domain": spoken_name(utterance.domain),
        "intent": spoken_name(utterance.intent),
        "number": num2words(len(utterance.slots)) if utterance.slots else "none",
        "ending": " ".join(utterance.transcript.split()[-LAST_WORDS:]),
    }
    return Question(kind, rng.choice(WORDINGS[kind]), answers[kind])


def example(utterance: Utterance, draw: Draw) -> Example:
    """Return one written question, without dialogue context, since that could contain the answer."""
    asked = question(utterance, draw.slot_types, draw.rng)
    prompt = user_message([], INSTRUCTION[draw.style].format(question=asked.text))
    return Example(f"{utterance.id}/{NAME}", utterance.id, NAME, prompt, asked.answer, asked=(asked.asks,))


def parse(raw: str) -> str:
    """Return the answer in lower case with single spaces."""
    return " ".join(raw.lower().split())


def _there_or_not(there: dict[str, bool], rng: random.Random) -> tuple[str, bool]:
    """Return a drawn name and whether it is present, each with probability one half if both kinds exist."""
    wanted = rng.random() < 0.5
    pool = [name for name, is_there in there.items() if is_there == wanted] or list(there)
    name = rng.choice(pool)
    return name, there[name]


ACCURACY = Metric(
    "accuracy", "Accuracy", "right", quotient, label="accuracy", column="with interval", varies_as="f1"
)
GOLD: tuple[Gold, ...] = ("transcript", "slots", "domain", "intent")
"""Gold fields that a question needs. Entities are optional: only turns with entities are asked for them."""


def count(predictions: Sequence[Prediction], parse: Parse) -> Counted:
    """Return the counts of right answers: the gold words, ignoring case and spaces.

    `answers` holds for each kind of question the number of answers, of right ones, and of those that the
    most common gold answer would get right.
    """
    right = [exact_match.same(p.gold, p.raw) for p in predictions]
    answers: dict[str, dict[str, int]] = {}
    for asks in sorted({p.asked[0] for p in predictions}):
        chosen = [(p.gold, found) for p, found in zip(predictions, right, strict=True) if p.asked[0] == asks]
        commonest = max(Counter(gold for gold, _ in chosen).values())
        answers[asks] = {"n": len(chosen), "right": sum(f for _, f in chosen), "commonest": commonest}
    counts = {"right": [(found, 1) for found in right]}
    return Counted(counts, {"exact_match": exact_match.VERSION}, {"answers": answers})


TASKS = (
    Task(
        NAME,
        VERSION,
        example,
        parse,
        count,
        metrics=(ACCURACY,),
        main=ACCURACY,
        gold=GOLD,
        asks_of_gold=True,
        how="Accuracy is the share of answers that equal gold, ignoring case and spaces.",
    ),
)
