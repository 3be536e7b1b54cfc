"""SLU-F1, SLURP's metric of entities: by word and by character distance (Bastianelli et al. 2020).

An entity is a dict of `type` and `filler`, and `slu_counts` compares text unchanged. Its figures agree with
SLURP's published evaluation program (commit 8eb1654), whose texts are in lower case. `counts` ignores case
and repeated spaces, as the other metrics of slots do.

The program counts true positives (TP), false positives (FP) and false negatives (FN). They are stored here
as `Counts(TP, TP + FP, TP + FN)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rapidfuzz.distance import Levenshtein

from speechllm_bench.metrics import Counts, total

VERSION = 2
"""Version 1 took "York" and "york" for different words."""

Entity = dict[str, str]
ByLabel = dict[str, Counts]


def word_distance(gold: str, predicted: str) -> float:
    """Return word edits / gold words: 0 for equal text, above 1 if many words were added.

    Raises ValueError for a gold filler without words, as the published program does.
    """
    words = gold.split()
    if not words:
        raise ValueError("a gold filler without words has no word distance")
    return Levenshtein.distance(words, predicted.split()) / len(words)


def char_distance(gold: str, predicted: str) -> float:
    """Return character edits / length of the longer text, in 0 to 1; 1 if both are empty, as published."""
    longer = max(len(gold), len(predicted))
    return Levenshtein.distance(gold, predicted) / longer if longer else 1.0


def distance_counts(
    gold: list[Entity], predicted: list[Entity], distance: Callable[[str, str], float]
) -> ByLabel:
    """Return counts by type. A matched filler at distance d counts as TP + 1, FP + d, FN + d.

    Each prediction, in order, takes the nearest remaining gold entity of its type (the first of equals).
    This greedy assignment is not optimal, but it is the published rule.
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
    """Return the counts of SLU-F1 by type: the sum over the word distance and the character distance."""
    return add(distance_counts(gold, predicted, distance) for distance in (word_distance, char_distance))


def add(tables: Iterable[ByLabel]) -> ByLabel:
    """Return the sum of tables of counts by label, over utterances or over distances."""
    gathered: dict[str, list[Counts]] = {}
    for table in tables:
        for label, row in table.items():
            gathered.setdefault(label, []).append(row)
    return {label: total(rows) for label, rows in gathered.items()}


def counts(gold: dict[str, str], predicted: dict[str, str]) -> Counts:
    """Return SLU-F1's counts of one slot answer, summed over slots. Slot is the type, value the filler.

    Values are compared in lower case, with their words separated by one space.
    """
    return total(slu_counts(_entities(gold), _entities(predicted)).values())


def _entities(answer: dict[str, str]) -> list[Entity]:
    return [{"type": slot, "filler": " ".join(value.lower().split())} for slot, value in answer.items()]
