"""SIT, a speech instruction task: a written question about the spoken turn, answered in a few words.

2510.15851 (Tables 1 and 7) mixes tasks of this name into training; what it asks is not known to us, so
these questions are ours. Each answer follows from the turn's own gold and is never a slot's value:

    domain     the line of business, of a caller's first turn              closed
    intent     what the caller wants, of a caller's first turn             closed
    number     how many details (slots) the turn fills                     closed
    person, place, when   whether such a thing is named (entities)         yes or no
    detail     whether the turn fills a slot of this name                  yes or no
    ending     the last three words                                        open

Yes-or-no questions are asked of turns that have such a thing, of one kind or another; half of them ask for
what is there. Unseen slot types are never named.
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
"""Questions by what they ask; {} is a slot's name."""

ENTITIES = {"person": "PERSON", "place": "PLACE", "when": "WHEN"}
LAST_WORDS = 3


class Question(NamedTuple):
    asks: str  # a key of WORDINGS
    text: str
    answer: str


def question(
    utterance: Utterance, slot_types: Mapping[str, SlotType], rng: random.Random, details: bool = True
) -> Question:
    """A drawn question on a turn; without `details` its words are those of `WORDINGS` alone."""
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
    """Ask one written question, without dialogue context, which could answer it."""
    asked = question(utterance, draw.slot_types, draw.rng)
    return Example(
        id=f"{utterance.id}/sit",
        utterance_id=utterance.id,
        task=NAME,
        prompt=user_message([], INSTRUCTION[draw.style].format(question=asked.text)),
        target=asked.answer,
        asked=(asked.asks,),
    )


def parse(raw: str) -> str:
    """The answer without regard to case and spaces."""
    return " ".join(raw.lower().split())


def _there_or_not(there: dict[str, bool], rng: random.Random) -> tuple[str, bool]:
    """A drawn thing and whether it is there, with a chance of one half each where there are both."""
    wanted = rng.random() < 0.5
    pool = [name for name, is_there in there.items() if is_there == wanted] or list(there)
    name = rng.choice(pool)
    return name, there[name]


ACCURACY = Metric(
    "accuracy", "Accuracy", "right", quotient, label="accuracy", column="with interval", varies_as="f1"
)
GOLD: tuple[Gold, ...] = ("transcript", "slots", "domain", "intent")
"""What a question needs gold of; entities are asked for where a turn has any."""


def count(predictions: Sequence[Prediction], parse: Parse) -> Counted:
    """Which answers are the gold words, but for case and spaces.

    `answers` has, by what was asked, how many there were, how many were right, and how many the commonest
    gold answer alone would have got right.
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
        how="Accuracy: of answers to questions on the turn, the gold words but for case and spaces.",
    ),
)
