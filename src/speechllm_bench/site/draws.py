"""The random draws of intervals, which the page needs to compute the same intervals.

`stats.contrast` starts every interval from the same generator state. So its draws depend only on the number
of speakers and on the degrees of freedom of the seeds.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import numpy as np

from speechllm_bench import stats
from speechllm_bench.evaluation import score
from speechllm_bench.site import packed


def freedom(n_seeds: int, pooled: bool) -> set[int]:
    """Return the degrees of freedom of intervals over up to so many seeds.

    pooled: whether a pooled variance counts too.
    """
    return {n - 1 + stats.POOLED_DF if pooled else n - 1 for n in range(1, n_seeds + 1)} - {0}


def of(n_speakers: int, freedoms: Iterable[int]) -> dict:
    """Return the draws of a test set, with those of its seeds by their degrees of freedom.

    times: how often each speaker is drawn. widths: factor by which each draw is widened. t: degrees of
    freedom -> draws of a t distribution.
    """
    rng = score.rng()
    times, widths = stats.bootstrap_draws(n_speakers, rng, stats.N_BOOT)
    return {
        "speakers": n_speakers,
        "n": stats.N_BOOT,
        "times": packed.array(times.astype(np.uint8)),
        "widths": packed.short(widths),
        "t": {str(df): packed.short(deepcopy(rng).standard_t(df, stats.N_BOOT)) for df in sorted(freedoms)},
    }
