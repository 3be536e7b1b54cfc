"""Exact match of slot-value pairs: the same slot and the same words, ignoring case and spaces."""

from __future__ import annotations

from speechllm_bench.metrics import Counts, pairs

VERSION = 1


def same(gold: str, predicted: str) -> bool:
    return gold.lower().split() == predicted.lower().split()


def counts(gold: dict | None, predicted: dict | None) -> Counts:
    """Return the number of equal, predicted and gold pairs of one answer; `None` is an unparsable answer."""
    gold, predicted = pairs(gold), pairs(predicted)
    correct = sum(same(value, predicted[slot]) for slot, value in gold.items() if slot in predicted)
    return Counts(correct, len(predicted), len(gold))
