"""Augmentation of encoder frames in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def shifted(frames: np.ndarray, limit: int, seed: Sequence[int]) -> np.ndarray:
    """Return (n + T, D): n zero frames, then `frames` (T, D). n in [0, limit) is drawn with `seed`.

    An adapter that stacks frames then gets another grouping of a turn's frames in each epoch, which makes
    the turn harder to memorise.
    """
    n = int(np.random.default_rng(seed).integers(limit))
    return np.pad(frames, ((n, 0), (0, 0)))
