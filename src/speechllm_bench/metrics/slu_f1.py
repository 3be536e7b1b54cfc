"""SLURP's entity metrics: span F1, word and character distance F1, and SLU-F1 (Bastianelli et al. 2020).

An entity is a dict of `type` and `filler`. Text is compared as it is: lower-case and normalise before,
or not at all. The figures agree with SLURP's published evaluation program (commit 8eb1654).

Published counts are true positives (TP), false positives (FP) and false negatives (FN); here they are
kept as `Counts(TP, TP + FP, TP + FN)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rapidfuzz.distance import Levenshtein

from speechllm_bench.metrics import Counts, f1, rates, total

__all__ = [
    "VERSION",
    "add",
    "char_distance",
    "counts",
    "distance_counts",
    "intent_counts",
    "macro",
    "micro",
    "slu_counts",
    "span_counts",
    "word_distance",
]

VERSION = 1

Entity = dict[str, str]
ByLabel = dict[str, Counts]


def word_distance(gold: str, predicted: str) -> float:
    """Word edits / gold words: 0 for equal text, and above 1 when much was added.

    Raises ValueError for a gold filler without words, as the published program does.
    """
    words = gold.split()
    if not words:
        raise ValueError("a gold filler without words has no word distance")
    return Levenshtein.distance(words, predicted.split()) / len(words)


def char_distance(gold: str, predicted: str) -> float:
    """Character edits / the longer text's length, in 0 to 1; 1 where both are empty, as published."""
    longer = max(len(gold), len(predicted))
    return Levenshtein.distance(gold, predicted) / longer if longer else 1.0


def span_counts(gold: list[Entity], predicted: list[Entity]) -> ByLabel:
    """Counts by type, where an entity is right when it equals one gold entity not yet taken."""
    remaining, tables = list(gold), []
    for entity in predicted:
        if entity in remaining:
            remaining.remove(entity)
            tables.append({entity["type"]: Counts(1, 1, 1)})
        else:
            tables.append({entity["type"]: Counts(0, 1, 0)})
    return add(tables + [{entity["type"]: Counts(0, 0, 1)} for entity in remaining])


def distance_counts(
    gold: list[Entity], predicted: list[Entity], distance: Callable[[str, str], float]
) -> ByLabel:
    """Counts by type, where a wrong filler costs its distance d: TP + 1, FP + d, FN + d.

    Predictions take, in their order, the nearest remaining gold entity of their type (the first of
    equals). That is greedy, not the best assignment, and it is the published rule.
    """
    remaining, tables = list(gold), []
    for entity in predicted:
        kind = entity["type"]
        same_type = [g for g in remaining if g["type"] == kind]
        if not same_type:
            tables.append({kind: Counts(0, 1, 0)})
            continue
        distances = [distance(g["filler"], entity["filler"]) for g in same_type]
        d = min(distances)
        remaining.remove(same_type[distances.index(d)])
        tables.append({kind: Counts(1, 1 + d, 1 + d)})
    return add(tables + [{entity["type"]: Counts(0, 0, 1)} for entity in remaining])


def slu_counts(gold: list[Entity], predicted: list[Entity]) -> ByLabel:
    """Counts by type of SLU-F1: those of the word distance and of the character distance together."""
    return add(distance_counts(gold, predicted, distance) for distance in (word_distance, char_distance))


def intent_counts(gold: str, predicted: str) -> ByLabel:
    """Counts by label of one classified utterance."""
    if gold == predicted:
        return {gold: Counts(1, 1, 1)}
    return {gold: Counts(0, 0, 1), predicted: Counts(0, 1, 0)}


def add(tables: Iterable[ByLabel]) -> ByLabel:
    """Sum tables of counts label by label, over utterances or over distances."""
    gathered: dict[str, list[Counts]] = {}
    for table in tables:
        for label, row in table.items():
            gathered.setdefault(label, []).append(row)
    return {label: total(rows) for label, rows in gathered.items()}


def micro(table: ByLabel) -> dict[str, float]:
    """precision, recall and f1 of all labels' counts together."""
    return rates(total(table.values()))


def macro(table: ByLabel) -> float:
    """Unweighted mean of F1 over the labels seen in gold or prediction; 0 when there is none."""
    return sum((float(f1(row)) for row in table.values()), 0.0) / len(table) if table else 0.0


def counts(gold: dict[str, str], predicted: dict[str, str]) -> Counts:
    """SLU-F1's counts of one slot answer, all slots together; a slot is a type, its value the filler."""
    entities = [[{"type": s, "filler": v} for s, v in answer.items()] for answer in (gold, predicted)]
    return total(slu_counts(*entities).values())
