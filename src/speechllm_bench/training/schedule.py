"""What is seen when, and at what learning rate: pure functions of a seed and a step, so a run can resume."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

BUCKET = 32  # batches sorted together by length: little padding, still well mixed


def batches(
    lengths: Sequence[float], examples: int, batch_size: int, rng: np.random.Generator
) -> list[list[tuple[int, int]]]:
    """Every batch of a stage, as (item, epoch) pairs: `examples` in all, reshuffled every epoch.

    Items of like length share a batch. `lengths` are a reference measure (seconds of audio), never an
    adapter's own, so every variant sees the same examples in the same order.
    """
    order: list[tuple[int, int]] = []
    epoch = 0
    while len(order) < examples:
        order += [(int(i), epoch) for i in rng.permutation(len(lengths))]
        epoch += 1
    order = order[:examples]
    formed = []
    for start in range(0, examples, BUCKET * batch_size):
        pool = sorted(order[start : start + BUCKET * batch_size], key=lambda pair: lengths[pair[0]])
        pool = [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        formed += [pool[i] for i in rng.permutation(len(pool))]
    return formed


def learning_rate(step: int, n_steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up over the first `warmup` share of the steps, then half a cosine down to zero."""
    n_warmup = round(warmup * n_steps)
    if step < n_warmup:
        return peak * (step + 1) / n_warmup
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
