"""Batches that a thread makes ahead of the training step, while the step waits for a GPU.

The order of the batches and their content are the same as without. A thread serves, because a step mostly
waits for the GPU. Worker processes would get the signals that ask a training for its checkpoint.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import dropwhile, islice

from speechllm_bench.models.inputs import Batch

Part = Sequence[int]  # indices of examples that are computed together
READY = {"cuda": 2}  # parts that are made ahead, by device; elsewhere none


class Ahead:
    """Calls `collated`, or takes what the thread has made of the same part, in pinned memory.

    collated: makes the batches of a part. batches: those of the training, in order; no index is in two.
    parts: cuts a batch into parts, with their shares. device: "cuda" or "cpu".
    """

    def __init__(
        self,
        collated: Callable[[Part], list[Batch]],
        batches: Sequence[Part],
        parts: Callable[[Part], Sequence[tuple[float, Part]]],
        device: str,
    ):
        self.collated, self.batches, self.parts = collated, batches, parts
        self.ready, self._pinned = READY.get(device, 0), device == "cuda"
        self._thread = ThreadPoolExecutor(1, "ahead")  # starts with its first part
        self._made: deque[tuple[list[int], Future[list[Batch]]]] = deque()
        self._coming: Iterator[Part] = iter(())

    def __call__(self, part: Part) -> list[Batch]:
        """Return the batches of a part. Raises what `collated` raises."""
        if not self.ready:
            return self.collated(part)
        if not self._made or self._made[0][0] != list(part):  # the start, a resumed training, smaller parts
            self._start(part)
        _, made = self._made.popleft()
        self._fill()
        return made.result()

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _start(self, part: Part) -> None:
        for _, made in self._made:
            made.cancel()
        self._made.clear()
        first = next(i for i, batch in enumerate(self.batches) if part[0] in batch)
        cut = (some for batch in self.batches[first:] for _, some in self.parts(batch))
        self._coming = dropwhile(lambda some: list(some) != list(part), cut)
        self._fill()

    def _fill(self) -> None:
        for part in islice(self._coming, self.ready + 1 - len(self._made)):
            self._made.append((list(part), self._thread.submit(self._make, part)))

    def _make(self, part: Part) -> list[Batch]:
        batches = self.collated(part)
        return [batch.pin_memory() for batch in batches] if self._pinned else batches
