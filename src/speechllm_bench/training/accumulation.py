"""Gradient accumulation: a batch is cut into parts whose gradients are summed.

It needs less memory and gives the same numbers up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Parts:
    """Cuts a batch into parts of at most `size` examples, each with its share of the batch's target tokens.

    A loss is a mean over target tokens, so the parts' losses times their shares sum to the batch's loss.
    Only dropout differs: it draws other masks for parts than for a whole batch.
    n_targets: returns the number of target tokens of an example, given its index.
    size: None does not cut the batch.
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
        """Halve the size of the parts; the first call makes parts of half a batch.

        Returns False where the parts already had one example.
        """
        size = min(self.size or batch_size, batch_size)
        self.size = -(-size // 2)
        return size > 1
