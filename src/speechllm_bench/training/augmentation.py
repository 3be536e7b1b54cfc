"""Augmentation of encoder frames in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def shifted(frames: np.ndarray, limit: int, seed: Sequence[int]) -> np.ndarray:
    """Frames (T, D) behind n zero frames: (n + T, D), with n below `limit` drawn by `seed`.

    An adapter that stacks frames meets a turn cut at other places each time, and cannot learn it by heart.
    """
    n = int(np.random.default_rng(seed).integers(limit))
    return np.pad(frames, ((n, 0), (0, 0)))
