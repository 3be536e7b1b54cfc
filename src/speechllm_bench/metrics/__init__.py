"""Metrics as pure functions: from a gold and a given answer to counts, and from counts to a score.

Counts add up over utterances. So the score of a corpus, of a speaker and of a bootstrap draw is the same
function of different sums. Every module has a `VERSION`, which is raised when its numbers would change.
Tables refuse to mix versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Counts(NamedTuple):
    """Counts for precision, recall and F1. `correct` may contain fractions of a pair."""

    correct: float
    predicted: float
    gold: float


def total(counts: Iterable[tuple[float, ...]]) -> Counts:
    """Return the sum of counts over utterances; all zero if there are none."""
    return Counts(*map(float, np.sum([*counts] or [(0, 0, 0)], axis=0)))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole elementwise, and 0 where the whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole != 0)


def quotient(sums: np.ndarray) -> np.ndarray:
    """Return the first of counts (..., 2) divided by the second, 0 where that is 0. Shape: (...)."""
    sums = np.asarray(sums, float)
    return ratio(sums[..., 0], sums[..., 1])


def precision(sums: ArrayLike) -> np.ndarray:
    """Return the precision of counts (..., 3) in the order of `Counts`. Shape: (...)."""
    sums = np.asarray(sums, float)
    return ratio(sums[..., 0], sums[..., 1])


def recall(sums: ArrayLike) -> np.ndarray:
    """Return the recall of counts (..., 3) in the order of `Counts`. Shape: (...)."""
    sums = np.asarray(sums, float)
    return ratio(sums[..., 0], sums[..., 2])


def f1(sums: ArrayLike) -> np.ndarray:
    """Return the harmonic mean of precision and recall of counts (..., 3). Shape: (...)."""
    sums = np.asarray(sums, float)
    return ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def pairs(answer: Mapping | None) -> dict[str, str]:
    """Return the slot-value pairs of an answer, without null, empty and non-text values (protocol, rule 12).

    `None` is an unparsable answer and has no pairs.
    """
    return {slot: value for slot, value in (answer or {}).items() if isinstance(value, str) and value.strip()}
