"""Partial match of slot-value pairs, version 1: the suite's own soft slot metric (protocol, rule 12).

A predicted value earns credit for the longest run of consecutive words it shares with the gold value
of the same slot. The rule behind the figures of 2510.15851 and 2510.19326 is not known; this is ours.
"""

from __future__ import annotations

from difflib import SequenceMatcher

from speechllm_bench.metrics import Counts, pairs, score

__all__ = ["VERSION", "counts", "credit", "score"]

VERSION = 1


def credit(gold: str, predicted: str) -> float:
    """2 x longest common run of words / (gold words + predicted words), in 0 to 1.

    Words are what whitespace separates in the lower-cased text.
    """
    a, b = gold.lower().split(), predicted.lower().split()
    if not a or not b:
        return 0.0
    return 2 * SequenceMatcher(None, a, b, autojunk=False).find_longest_match().size / (len(a) + len(b))


def counts(gold: dict | None, predicted: dict | None) -> Counts:
    """Summed credit, predicted pairs and gold pairs of one answer; `None` is an unparsable one."""
    gold, predicted = pairs(gold), pairs(predicted)
    correct = sum(credit(value, predicted[slot]) for slot, value in gold.items() if slot in predicted)
    return Counts(correct, len(predicted), len(gold))
