"""F1 of a classifier with one label per item: macro and weighted, from counts summed by class.

Both are defined as in scikit-learn's `f1_score`. slue-toolkit reports both for sentiment, but calls the
weighted one "micro" (`eval_w2v_sentiment.py`, commit ed23039). Here each has its usual name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechllm_bench.metrics import f1, ratio

VERSION = 1


def counts(gold: str, predicted: str | None, classes: Sequence[str]) -> tuple[int, ...]:
    """Return the counts of one item: correct, predicted and gold for each class in turn, (3 x classes,).

    `None` is an unparsable answer: its gold class is missed, and no class is predicted.
    """
    return tuple(int(hit) for c in classes for hit in (c == gold == predicted, c == predicted, c == gold))


def macro(sums: np.ndarray) -> np.ndarray:
    """Return the mean F1 over classes in gold or prediction, from counts (..., 3 x classes). Shape: (...)."""
    table = _table(sums)
    seen = (table[..., 1] + table[..., 2]) > 0  # (..., classes)
    return ratio((f1(table) * seen).sum(axis=-1), seen.sum(axis=-1))


def weighted(sums: np.ndarray) -> np.ndarray:
    """Return the mean F1, weighted by gold count per class, from counts (..., 3 x classes). Shape: (...)."""
    table = _table(sums)
    return ratio((f1(table) * table[..., 2]).sum(axis=-1), table[..., 2].sum(axis=-1))


def _table(sums: np.ndarray) -> np.ndarray:
    """Reshape counts (..., 3 x classes) to (..., classes, 3)."""
    sums = np.asarray(sums, float)
    return sums.reshape(*sums.shape[:-1], -1, 3)
