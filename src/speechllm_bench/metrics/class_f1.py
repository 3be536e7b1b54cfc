"""F1 of a classifier with one label an item: macro and weighted, from counts summed class by class.

As scikit-learn's `f1_score` defines them. slue-toolkit reports both for sentiment, and calls the weighted one
"micro" (`eval_w2v_sentiment.py`, commit ed23039); here each bears its own name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechllm_bench.metrics import f1, ratio

VERSION = 1


def counts(gold: str, predicted: str | None, classes: Sequence[str]) -> tuple[int, ...]:
    """Correct, predicted and gold of every class in turn, 3 x classes numbers, for one item.

    `None` is an unparsable answer: its gold class is missed, and no class is predicted.
    """
    return tuple(int(hit) for c in classes for hit in (c == gold == predicted, c == predicted, c == gold))


def macro(sums: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes in gold or prediction, of counts (..., 3 x classes); returns (...)."""
    table = _table(sums)
    seen = (table[..., 1] + table[..., 2]) > 0  # (..., classes)
    return ratio((f1(table) * seen).sum(axis=-1), seen.sum(axis=-1))


def weighted(sums: np.ndarray) -> np.ndarray:
    """Mean F1 weighted by how often a class is gold, of counts (..., 3 x classes); returns (...)."""
    table = _table(sums)
    return ratio((f1(table) * table[..., 2]).sum(axis=-1), table[..., 2].sum(axis=-1))


def _table(sums: np.ndarray) -> np.ndarray:
    """(..., 3 x classes) -> (..., classes, 3)."""
    sums = np.asarray(sums, float)
    return sums.reshape(*sums.shape[:-1], -1, 3)
