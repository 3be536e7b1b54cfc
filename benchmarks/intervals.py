"""Simulated coverage of nominal 95 % intervals by number of speakers and seeds. Writes intervals.md.

Two systems fill the slots of the same turns. The interval is that of their paired difference in F1. The
true value is the difference over all speakers and all seeds. "before" is the percentile bootstrap over
speakers and seeds (`stats.bootstrap`). "now" is the interval of tables and claims (`stats.contrast` with
a pooled seed variance).

    python benchmarks/intervals.py            # about half a minute of one core
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from speechllm_bench import stats
from speechllm_bench.evaluation import seeds
from speechllm_bench.metrics import f1

SPEAKERS, SEEDS = (10, 16, 32, 64), (1, 2, 3, 5)
F1 = (0.40, 0.33)
"""F1 of the two systems. Their difference is the true value."""
SHARED_SD, OWN_SD, SEED_SPEAKER_SD = 0.053, 0.026, 0.046
"""Standard deviations of speakers' F1: shared by both systems, specific to a system, and specific to one seed
of a system. Estimated from 38 systems with three seeds in results/mini, with F1 above 0.1 on A-test.
"""
SEED_VARIANCE = 1.28e-4
"""Mean variance between seeds of the same systems, without the part that is due to speakers."""
SLOTS = 50  # gold slots per speaker, mean of a Poisson distribution
VARIANCE_DF = 4
"""Degrees of freedom of the inverse chi-square distribution of the systems' variances between seeds."""
DRAWS = 600
"""Draws of speakers per interval. Tables use more, so these intervals are slightly less precise."""


def simulate(n_speakers: int, n_seeds: int, rng: np.random.Generator) -> list[stats.SpeakerSums]:
    """Return the counts of two systems, each (n_seeds, n_speakers, 3): credit, predicted pairs, gold
    pairs.
    """
    names = tuple(f"{i:03d}" for i in range(n_speakers))
    gold = rng.poisson(SLOTS, n_speakers) + 1
    shared, systems = rng.normal(0, SHARED_SD, n_speakers), []
    for reached in F1:
        variance = SEED_VARIANCE * (VARIANCE_DF - 2) / rng.chisquare(VARIANCE_DF)
        of_seed = rng.normal(0, np.sqrt(variance), (n_seeds, 1))
        own = rng.normal(0, OWN_SD, n_speakers) + rng.normal(0, SEED_SPEAKER_SD, (n_seeds, n_speakers))
        right = gold * np.clip(reached + of_seed + shared + own, 0.01, 0.99)
        wide = np.broadcast_to(gold, right.shape)
        sums = np.stack([right, wide, wide], axis=-1)
        systems.append(stats.SpeakerSums(int(gold.sum()), "same", names, sums))
    return systems


def covered(n_speakers: int, n_seeds: int, repeats: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return the shares of intervals that contain the true value, before and now."""
    truth, pooled, hits = F1[0] - F1[1], 2 * seeds.pooled("f1"), np.zeros(2)

    def difference(sums: np.ndarray) -> np.ndarray:
        return f1(sums[..., :3]) - f1(sums[..., 3:])

    for _ in range(repeats):
        systems = simulate(n_speakers, n_seeds, rng)
        before = stats.bootstrap(stats.side_by_side(systems), difference, rng, DRAWS)
        now = stats.contrast(systems, [1, -1], f1, rng, pooled, DRAWS)
        hits += [found.low <= truth <= found.high for found in (before, now)]
    return tuple((hits / repeats).tolist())


def table(repeats: int) -> str:
    """Return a Markdown table with one row per number of speakers and seeds."""
    rng = np.random.default_rng(0)
    lines = ["| speakers | seeds | before | now |", "|---:|---:|---:|---:|"]
    for n_speakers in SPEAKERS:
        for n_seeds in SEEDS:
            before, now = covered(n_speakers, n_seeds, repeats, rng)
            lines.append(f"| {n_speakers} | {n_seeds} | {before:.3f} | {now:.3f} |")
    return "\n".join(lines)


TEXT = """\
# Coverage of intervals

The table shows how often a nominal 95 % interval of a paired difference in F1 contains the true difference. \
Written by `python benchmarks/intervals.py`: {repeats} simulated test sets per row, so each coverage is \
known to within {error:.3f} (one standard error).

The two systems have F1 {a} and {b} over all speakers and seeds. Each speaker has about {slots} slots. \
The spread of speakers and seeds is that of 38 systems in `results/mini`. Speakers have a standard deviation \
of {shared} in the part that both systems share, {own} in the part of each system, and {single} in the part \
of one seed of a system. Seeds have a standard deviation of {sd:.4f} on average, which differs between \
systems.

*Before* is the percentile bootstrap over speakers and seeds. *Now* is the interval of tables and claims, \
protocol rule 13.

{table}
"""


def main(repeats: int = 1000) -> None:
    text = TEXT.format(
        repeats=f"{repeats:,}",
        error=np.sqrt(0.05 * 0.95 / repeats),
        a=F1[0],
        b=F1[1],
        slots=SLOTS,
        shared=SHARED_SD,
        own=OWN_SD,
        single=SEED_SPEAKER_SD,
        sd=np.sqrt(SEED_VARIANCE),
        table=table(repeats),
    )
    (Path(__file__).parent / "intervals.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
