"""Confidence intervals by a bootstrap over speakers, paired differences, p-values (protocol, rule 13).

Utterances of one speaker share voice, calls and values. So the bootstrap draws speakers, not utterances, and
needs only each speaker's sums of counts. With several seeds a number is the mean of the statistic over seeds.

`bootstrap` gives the plain percentile interval, which the stored score of one run has. Tables and claims use
`contrast`, whose intervals also hold for few speakers and few seeds (benchmarks/intervals.md). It widens the
draws from a normal to a t distribution and adds the variance between seeds. That variance is moderated (Smyth
2004, doi 10.2202/1544-6115.1027): the pooled variance of many systems counts as `POOLED_DF` degrees of
freedom in addition to those of the system's own seeds. The module needs only numpy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Interval

LEAST_DIFFERENCE = 0.05
"""Least difference in F1 that counts as a difference, whatever its p-value (protocol, rule 13)."""
ALPHA = 0.05
"""Significance level of two-sided tests; intervals are 95 % intervals."""
POOLED_DF = 4
"""Degrees of freedom of the pooled variance between seeds. Systems differ in this variance, so the pooled one
is less informative about one system than its number of records suggests. The systems of `mini` fit 2 to 9."""
POWER_FACTOR = 1.960 + 0.842
"""Normal quantiles of 0.975 and 0.8: a test has power 0.8 for a difference of that many standard errors."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""A function from sums of counts (..., k) to statistics (...)."""

N_BOOT = 10_000  # bootstrap draws per interval
_BLOCK = 1000  # draws held in memory at once

ONE_SEED = "†"
"""Mark of a number with one seed: its interval uses the variance between seeds of other systems."""


def p_shown(p: float) -> str:
    """Format a p-value for tables: 0.012, or < 0.001."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def with_interval(value: float, low: float, high: float, sign: str = "", star: str = "") -> str:
    """Format a number for tables: 0.130 [0.112, 0.148]. sign: "+" for a difference."""
    return f"{value:{sign}.3f}{star} [{low:{sign}.3f}, {high:{sign}.3f}]"


def shown(found: Interval | None, sign: str = "") -> str:
    """Format a number with its interval for tables, None as a dash."""
    return with_interval(found.value, found.low, found.high, sign) if found else "–"


@dataclass(frozen=True)
class Comparison(Interval):
    """A number with its interval, its p-value against 0 and its standard error."""

    p: float = 1.0  # two-sided, from the same draws as the interval; not corrected for several tests
    standard_error: float = 0.0  # over speakers only, without the variance between seeds


@dataclass(frozen=True)
class SpeakerSums:
    """Counts of a test set, summed over the items of each speaker."""

    n: int  # number of items
    items: str  # fingerprint of the items' ids: equal if two systems answered the same items
    speakers: tuple[str, ...]  # sorted
    sums: np.ndarray  # (n_seeds, n_speakers, k)


def sum_by_speaker(ids: Sequence[str], speakers: Sequence[str], counts: np.ndarray) -> SpeakerSums:
    """Sum the counts of items (n_items, k), or of several seeds (n_seeds, n_items, k), by speaker.

    ids, speakers: id and speaker of each item, in any order. Raises UserError without items, and for an item
    that occurs twice.
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
    """Join several seeds of a system to one record. Raises UserError unless all answered the same items."""
    for other in seeds[1:]:
        _same_items(seeds[0], other)
    first = seeds[0]
    return SpeakerSums(first.n, first.items, first.speakers, np.concatenate([s.sums for s in seeds]))


def side_by_side(parts: Sequence[SpeakerSums]) -> SpeakerSums:
    """Join several counts of speakers to sums (n_seeds, n_speakers, k + k + ...).

    The parts may be of several test sets. A speaker who is missing in one of them has counts of 0 there.
    """
    speakers = sorted(set().union(*(part.speakers for part in parts)))
    padded = [np.zeros((len(part.sums), len(speakers), part.sums.shape[-1])) for part in parts]
    for sums, part in zip(padded, parts, strict=True):
        sums[:, np.searchsorted(speakers, part.speakers)] = part.sums
    items = " ".join(part.items for part in parts)
    return SpeakerSums(parts[0].n, items, tuple(speakers), np.concatenate(padded, axis=-1))


def bootstrap(
    counted: SpeakerSums, statistic: Statistic, rng: np.random.Generator, n_boot: int = N_BOOT
) -> Interval:
    """Return the statistic's mean over seeds with its percentile interval over speakers and seeds.

    The interval is too narrow for few speakers, and for several seeds. With a single seed it covers speakers
    only. With a single speaker (see `n_speakers`) its width is that of the seeds alone, 0 for one seed.
    """
    stacked = counted.sums[:, :, None, :]
    n_seeds, parts = len(stacked), []
    for sums in _drawn_sums([stacked], rng, n_boot):
        weight = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=len(sums)) / n_seeds
        parts.append((statistic(sums[..., 0, :]) * weight).sum(axis=1))
    low, high = np.quantile(np.concatenate(parts), [ALPHA / 2, 1 - ALPHA / 2])
    value = statistic(counted.sums.sum(axis=1)).mean()
    return Interval(float(value), float(low), float(high), counted.n, len(counted.speakers), n_seeds)


def contrast(
    systems: Sequence[SpeakerSums],
    weights: Sequence[float],
    statistic: Statistic,
    rng: np.random.Generator,
    seed_variance: float | None = None,
    n_boot: int = N_BOOT,
) -> Comparison:
    """Return the weighted sum of the systems' statistics, with its interval and p-value.

    All systems use the same draws of speakers, and seeds are paired in their order.
    seed_variance: variance of the weighted sum between seeds, pooled over records; None if it is unknown, 0
    if nothing was trained. Raises UserError where two systems answered different items or have different
    numbers of seeds.
    """
    return contrast_of_test_sets([[one] for one in systems], weights, statistic, rng, seed_variance, n_boot)


def contrast_of_test_sets(
    systems: Sequence[Sequence[SpeakerSums]],
    weights: Sequence[float],
    statistic: Statistic,
    rng: np.random.Generator,
    seed_variance: float | None = None,
    n_boot: int = N_BOOT,
) -> Comparison:
    """Do what `contrast` does for a statistic over several test sets, with one `SpeakerSums` for each.

    The statistic takes the counts of all test sets side by side (..., k of the first + k of the second +
    ...). Each test set has its own draws of speakers.
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
        return np.asarray(sum(weight * statistic(sums[..., i, :]) for i, weight in enumerate(weights)))

    of_each = zip(*systems, strict=True)  # per test set, the sums of all systems
    stacked = [np.stack([part.sums for part in parts], axis=-2) for parts in of_each]
    of_seeds = weighted(np.concatenate([sums.sum(axis=1) for sums in stacked], axis=-1))
    value, n_least = float(of_seeds.mean()), min(sums.shape[1] for sums in stacked)
    if n_least > 1:
        means = [weighted(sums).mean(axis=1) for sums in _drawn_sums(stacked, rng, n_boot)]
        deviations = (np.concatenate(means) - value) * np.sqrt(n_least / (n_least - 1))
    else:
        deviations = np.zeros(n_boot)
    error = float(np.sqrt(np.mean(deviations**2)))
    deviations = _t_mixture(deviations, n_least - 1, rng)
    deviations = deviations + _seed_deviations(of_seeds, seed_variance, n_boot, rng)
    low, high = value + np.quantile(deviations, [ALPHA / 2, 1 - ALPHA / 2])
    n, n_speakers = sum(part.n for part in first), sum(len(part.speakers) for part in first)
    p = _two_sided(value + deviations) if n_least > 1 else 1.0
    return Comparison(value, float(low), float(high), n, n_speakers, len(of_seeds), p, error)


def within(found: Comparison, low: float, high: float) -> Comparison:
    """Return `found` with its interval clipped to the possible range [low, high] of the number."""
    return replace(found, low=max(low, found.low), high=min(high, found.high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for all tests in the list by Holm's step-down correction, in the same order.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def differ(difference: Interval, p: float) -> bool:
    """Return whether a difference over several speakers counts: p (after Holm) < 0.05, size at least 0.05."""
    return difference.n_speakers > 1 and p < ALPHA and abs(difference.value) >= LEAST_DIFFERENCE


def alike(difference: Interval) -> bool:
    """Return whether systems are equivalent: an interval over several speakers within ±`LEAST_DIFFERENCE`."""
    return difference.n_speakers > 1 and max(-difference.low, difference.high) < LEAST_DIFFERENCE


def smallest_shown(standard_error: float) -> float:
    """Return the true difference that a test at level 0.05 finds with power 0.8, without seed variance."""
    return POWER_FACTOR * standard_error


def bootstrap_draws(n_speakers: int, rng: np.random.Generator, n_boot: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what `contrast` draws for one test set before it draws seeds.

    It is the number of times that each speaker is drawn (n_boot, n_speakers), and the factor that widens each
    deviation (n_boot,).
    """
    if n_speakers == 1:
        return np.ones((n_boot, 1), int), np.ones(n_boot)
    blocks = [min(_BLOCK, n_boot - start) for start in range(0, n_boot, _BLOCK)]
    times = np.concatenate([_times(n_speakers, size, rng) for size in blocks])
    return times, _t_mixture(np.ones(n_boot), n_speakers - 1, rng)


def _drawn_sums(
    test_sets: Sequence[np.ndarray], rng: np.random.Generator, n_boot: int
) -> Iterator[np.ndarray]:
    """Yield summed counts of drawn speakers, in blocks (size, n_seeds, systems, all k).

    test_sets: the sums (n_seeds, n_speakers, systems, k) of each test set.
    """
    for start in range(0, n_boot, _BLOCK):
        size = min(_BLOCK, n_boot - start)
        drawn = [np.tensordot(_times(sums.shape[1], size, rng), sums, axes=(1, 1)) for sums in test_sets]
        yield np.concatenate(drawn, axis=-1)


def _times(n_speakers: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the number of times that each speaker is drawn, (size, n_speakers)."""
    return _drawn(rng, "multinomial", n_speakers, (1 / n_speakers,) * n_speakers, size)


def _drawn(rng: np.random.Generator, distribution: str, *arguments) -> np.ndarray:
    """Return draws of one of the generator's distributions, as floats, which products need.

    Draws are cached together with the generator's next state. All scores of a test set start from the same
    state, and drawing takes most of their time.
    """
    bits = rng.bit_generator
    draws, bits.state = _cached_draws(type(bits), json.dumps(bits.state), distribution, arguments)
    return draws


@lru_cache(maxsize=128)
def _cached_draws(bits: type, state: str, distribution: str, arguments: tuple) -> tuple[np.ndarray, dict]:
    rng = np.random.Generator(bits())
    rng.bit_generator.state = json.loads(state)
    draws = getattr(rng, distribution)(*arguments).astype(float)
    draws.flags.writeable = False
    return draws, dict(rng.bit_generator.state)


def _seed_deviations(
    of_seeds: np.ndarray, pooled: float | None, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw n deviations of the mean over these seeds from the mean over all seeds.

    of_seeds: the statistic of each seed. The variances of systems are assumed to be scaled inverse chi-square
    with the pooled variance as their mean, which is `df / (df - 2)` times their scale.
    """
    n_seeds = len(of_seeds)
    if pooled == 0 or (pooled is None and n_seeds == 1):
        return np.zeros(n)
    squares, df = float(((of_seeds - of_seeds.mean()) ** 2).sum()), n_seeds - 1
    if pooled is not None:
        squares, df = squares + (POOLED_DF - 2) * pooled, df + POOLED_DF
    return np.sqrt(squares / df / n_seeds) * _drawn(rng, "standard_t", df, n)


def _t_mixture(deviations: np.ndarray, df: int, rng: np.random.Generator) -> np.ndarray:
    """Widen draws from a normal to a t distribution with `df` degrees of freedom; they keep their skew."""
    return deviations * np.sqrt(df / _drawn(rng, "chisquare", df, len(deviations))) if df > 0 else deviations


def _two_sided(draws: np.ndarray) -> float:
    """Return the two-sided p-value: twice the smaller share of draws on one side of 0, with one draw added.

    So p is never 0. With 10,000 draws it is at least 0.0002, and Holm can resolve 250 comparisons.
    """
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(draws) + 1)))


def _same_items(a: SpeakerSums, b: SpeakerSums) -> None:
    if (a.items, a.speakers) != (b.items, b.speakers):
        raise UserError(
            f"cannot compare systems that answered different items ({a.n} and {b.n}); "
            "score both on the same test set"
        )
