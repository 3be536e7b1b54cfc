"""A sample of a test set's turns. It is the same for every run, and takes the same share of every speaker."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from speechllm_bench.storage.schema import Utterance

TURNS = 75
"""Turns of each test set that are verified by default: a quarter of the 300 of profile `small`."""


def sampled(turns: Sequence[Utterance], n: int) -> frozenset[str]:
    """Return the ids of `n` turns, or of all where there are fewer.

    Speakers, and the turns of a speaker, stand in an order that hashes of their ids give. Of N turns every
    (N / n)-th is taken. So each speaker has its share, rounded up or down.
    """
    order = sorted(turns, key=lambda turn: (_place(turn.speaker), _place(turn.id)))
    n = min(n, len(order))
    return frozenset(order[(2 * k + 1) * len(order) // (2 * n)].id for k in range(n))


def _place(name: str) -> str:
    return sha256(f"sample/{name}".encode()).hexdigest()
