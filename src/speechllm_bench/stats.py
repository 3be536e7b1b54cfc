"""Confidence intervals by a bootstrap over speakers and seeds, paired differences (protocol, rule 13).

Utterances of one speaker share voice, calls and values, so speakers are drawn, not utterances; drawing
speakers needs no more than each one's sums. Seeds are drawn as well where there are several: the number
is then the mean over seeds of the statistic. Intervals are 95 % percentile intervals. numpy alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speechllm_bench.errors import UserError
from speechllm_bench.schema import Interval

LEAST_DIFFERENCE = 0.05
"""Of F1: a smaller difference is not called one, however sure (protocol, rule 13)."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""From sums of counts (..., k) to a number each (...)."""

_BLOCK = 1000  # draws held in memory at once


def with_interval(value: float, low: float, high: float, sign: str = "", star: str = "") -> str:
    """A number as tables show it: 0.130 [0.112, 0.148]; `sign` is "+" for a difference."""
    return f"{value:{sign}.3f}{star} [{low:{sign}.3f}, {high:{sign}.3f}]"


@dataclass(frozen=True)
class SpeakerSums:
    """Counts of a test set summed over each speaker's items."""

    n: int  # items
    items: str  # fingerprint of the items' ids: equal when two systems answered the same ones
    speakers: tuple[str, ...]  # sorted
    sums: np.ndarray  # (n_seeds, n_speakers, k)


def sum_by_speaker(ids: Sequence[str], speakers: Sequence[str], counts: np.ndarray) -> SpeakerSums:
    """Sum the counts of items (n_items, k), or of several seeds (n_seeds, n_items, k), by speaker.

    `ids` and `speakers` name each item and who said it. Order does not matter.
    """
    counts = np.asarray(counts, float)
    counts = counts[None] if counts.ndim == 2 else counts
    if not len(ids):
        raise UserError("there are no predictions to score; run the evaluation first")
    if len(set(ids)) != len(ids):
        twice = next(i for i in ids if list(ids).count(i) > 1)
        raise UserError(f"item '{twice}' was predicted twice; delete the run's folder and run again")
    names, index = np.unique(np.asarray(speakers, str), return_inverse=True)
    sums = np.zeros((len(counts), len(names), counts.shape[-1]))
    for seed, rows in enumerate(counts):
        np.add.at(sums[seed], index, rows)
    fingerprint = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]
    return SpeakerSums(len(ids), fingerprint, tuple(names.tolist()), sums)


def stack_seeds(seeds: Sequence[SpeakerSums]) -> SpeakerSums:
    """One record of several seeds of a system; UserError unless all answered the same items."""
    for other in seeds[1:]:
        _same_items(seeds[0], other)
    first = seeds[0]
    return SpeakerSums(first.n, first.items, first.speakers, np.concatenate([s.sums for s in seeds]))


def side_by_side(parts: Sequence[SpeakerSums]) -> SpeakerSums:
    """Several counts of the same speakers as one, (n_seeds, n_speakers, k + k + ...); UserError of others."""
    if any(part.speakers != parts[0].speakers for part in parts):
        raise UserError("cannot put counts of different speakers side by side; score both on one test set")
    items = " ".join(part.items for part in parts)
    sums = np.concatenate([part.sums for part in parts], axis=-1)
    return SpeakerSums(parts[0].n, items, parts[0].speakers, sums)


def bootstrap(
    counted: SpeakerSums, statistic: Statistic, rng: np.random.Generator, n_boot: int = 10_000
) -> Interval:
    """The statistic, its mean over seeds, and the interval of that.

    With a single speaker nothing can be drawn and the interval has no width; `n_speakers` says so.
    """
    return contrast([counted], [1], statistic, rng, n_boot)


def contrast(
    systems: Sequence[SpeakerSums],
    weights: Sequence[float],
    statistic: Statistic,
    rng: np.random.Generator,
    n_boot: int = 10_000,
) -> Interval:
    """The weighted sum of the systems' statistics, all over the same draws of speakers and seeds.

    Seeds are paired in their order. UserError where two systems answered different items or have not the
    same number of seeds.
    """
    return contrast_of_test_sets([[system] for system in systems], weights, statistic, rng, n_boot)


def contrast_of_test_sets(
    systems: Sequence[Sequence[SpeakerSums]],
    weights: Sequence[float],
    statistic: Statistic,
    rng: np.random.Generator,
    n_boot: int = 10_000,
) -> Interval:
    """The same of a statistic that several test sets go into: each system has one `SpeakerSums` a test set.

    The statistic takes their counts side by side (..., k of the first + k of the second + ...). Speakers of
    each test set are drawn apart, seeds once for all.
    """
    first = systems[0]
    for other in systems[1:]:
        for a, b in zip(first, other, strict=True):
            _same_items(a, b)
    numbers = sorted({len(part.sums) for system in systems for part in system})
    if len(numbers) > 1:
        raise UserError(
            f"cannot pair {numbers[-1]} seeds with {numbers[0]}; compare seeds that all systems have"
        )

    def weighted(sums: np.ndarray) -> np.ndarray:
        return sum(weight * statistic(sums[..., i, :]) for i, weight in enumerate(weights))

    of_each = zip(*systems, strict=True)  # of each test set, all systems
    stacked = [np.stack([part.sums for part in parts], axis=-2) for parts in of_each]
    value, low, high = _interval(weighted, stacked, rng, n_boot)
    n, n_speakers = sum(part.n for part in first), sum(len(part.speakers) for part in first)
    return Interval(value, low, high, n, n_speakers, len(first[0].sums))


def differ(difference: Interval) -> bool:
    """Whether a paired difference counts as one: its interval excludes 0 and it is at least 0.05."""
    sure = difference.n_speakers > 1 and (difference.low > 0 or difference.high < 0)
    return sure and abs(difference.value) >= LEAST_DIFFERENCE


def _interval(
    statistic: Statistic, test_sets: Sequence[np.ndarray], rng: np.random.Generator, n_boot: int
) -> tuple[float, float, float]:
    """Value, low and high, of sums (n_seeds, n_speakers, systems, k) of each test set; the statistic takes
    (..., systems, all k).
    """
    n_seeds = len(test_sets[0])
    draws = []
    for start in range(0, n_boot, _BLOCK):
        size = min(_BLOCK, n_boot - start)
        drawn = []
        for sums in test_sets:
            n_speakers = sums.shape[1]
            times = rng.multinomial(n_speakers, np.full(n_speakers, 1 / n_speakers), size=size)
            drawn.append(np.tensordot(times, sums, axes=(1, 1)))  # (size, n_seeds, systems, k)
        weight = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=size) / n_seeds
        per_seed = statistic(np.concatenate(drawn, axis=-1))  # (size, n_seeds)
        draws.append((per_seed * weight).sum(axis=1))
    low, high = np.quantile(np.concatenate(draws), [0.025, 0.975])
    whole = np.concatenate([sums.sum(axis=1) for sums in test_sets], axis=-1)
    return float(statistic(whole).mean()), float(low), float(high)


def _same_items(a: SpeakerSums, b: SpeakerSums) -> None:
    if (a.items, a.speakers) != (b.items, b.speakers):
        raise UserError(
            f"cannot compare systems that answered different items ({a.n} and {b.n}); "
            "score both on the same test set"
        )
