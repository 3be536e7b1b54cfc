"""The draws that intervals rest on, as the page needs them to find the same intervals.

`stats.contrast` starts each interval from one state, so its draws follow from the number of speakers and the
degrees of freedom of the seeds alone.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from speechllm_bench import stats
from speechllm_bench.evaluation import score
from speechllm_bench.site import packed


def of(n_speakers: int, most_seeds: int) -> dict:
    """Of a test set: how often each speaker is drawn, how much wider each draw is made, and by the degrees
    of freedom the draws of a t distribution, for up to so many seeds.
    """
    rng = score.rng()
    times, widths = stats.bootstrap_draws(n_speakers, rng, stats.N_BOOT)
    freedom = {n - 1 + more for n in range(1, most_seeds + 1) for more in (0, stats.POOLED_DF)} - {0}
    return {
        "speakers": n_speakers,
        "n": stats.N_BOOT,
        "times": packed.array(times.astype(np.uint8)),
        "widths": packed.array(widths),
        "t": {str(df): packed.array(deepcopy(rng).standard_t(df, stats.N_BOOT)) for df in sorted(freedom)},
    }
