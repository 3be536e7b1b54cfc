"""Batches cut into parts whose gradients are summed: less memory, and but for rounding the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Parts:
    """Cuts a batch into parts of at most `size` examples, each with its share of the batch's target tokens.

    A loss is a mean over target tokens, so the parts' losses times their shares sum up to the batch's.
    Dropout alone draws other masks for parts than for a whole batch. n_targets: of one example.
    """

    def __init__(self, n_targets: Callable[[int], int], size: int | None = None):
        self.n_targets, self.size = n_targets, size

    def __call__(self, batch: Sequence[int]) -> list[tuple[float, Sequence[int]]]:
        if self.size is None or self.size >= len(batch):
            return [(1.0, batch)]
        parts = [batch[i : i + self.size] for i in range(0, len(batch), self.size)]
        targets = [sum(map(self.n_targets, part)) for part in parts]
        return [(n / sum(targets), part) for n, part in zip(targets, parts, strict=True)]

    def halve(self, batch_size: int) -> bool:
        """From now on parts of half the size, at first of half a batch; False for parts of one example."""
        size = min(self.size or batch_size, batch_size)
        self.size = -(-size // 2)
        return size > 1
