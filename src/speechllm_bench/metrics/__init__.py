"""Metrics as pure functions: counts from one pair of answers, a score from counts.

Counts add up over utterances, so a corpus score, a speaker's share of it and a bootstrap draw are the
same function of different sums. Every module has a `VERSION`, bumped when its numbers would change;
tables refuse to mix versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Counts(NamedTuple):
    """Counts that precision, recall and F1 are made of; `correct` may hold fractions of a pair."""

    correct: float
    predicted: float
    gold: float


def total(counts: Iterable[tuple[float, ...]]) -> Counts:
    """The sum over utterances; all zero when there are none."""
    return Counts(*map(float, np.sum([*counts] or [(0, 0, 0)], axis=0)))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, and 0 where the whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole != 0)


def quotient(sums: np.ndarray) -> np.ndarray:
    """The first of counts (..., 2) by the second, 0 where that is 0; returns (...)."""
    sums = np.asarray(sums, float)
    return ratio(sums[..., 0], sums[..., 1])


def precision(sums: ArrayLike) -> np.ndarray:
    """Precision of counts (..., 3) in the order of `Counts`; returns (...)."""
    sums = np.asarray(sums, float)
    return ratio(sums[..., 0], sums[..., 1])


def recall(sums: ArrayLike) -> np.ndarray:
    """Recall of counts (..., 3) in the order of `Counts`; returns (...)."""
    sums = np.asarray(sums, float)
    return ratio(sums[..., 0], sums[..., 2])


def f1(sums: ArrayLike) -> np.ndarray:
    """Harmonic mean of precision and recall, of counts (..., 3); returns (...)."""
    sums = np.asarray(sums, float)
    return ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def rates(counts: Counts) -> dict[str, float]:
    """precision, recall and f1 of summed counts, each in 0 to 1; 0 where nothing was counted."""
    return {"precision": float(precision(counts)), "recall": float(recall(counts)), "f1": float(f1(counts))}


def pairs(answer: Mapping | None) -> dict[str, str]:
    """The slot-value pairs of an answer: null, empty and non-text values are no pair (protocol, rule 12).

    An unparsable answer is `None` and has no pairs at all.
    """
    answer = {} if answer is None else answer
    return {slot: value for slot, value in answer.items() if isinstance(value, str) and value.strip()}
