"""The random draws of intervals, which the page needs to compute the same intervals.

`stats.contrast` starts every interval from the same generator state. So its draws depend only on the number
of speakers and on the degrees of freedom of the seeds.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from speechllm_bench import stats
from speechllm_bench.evaluation import score
from speechllm_bench.site import packed


def of(n_speakers: int, most_seeds: int) -> dict:
    """Return the draws of a test set, for up to `most_seeds` seeds.

    times: how often each speaker is drawn. widths: factor by which each draw is widened. t: degrees of
    freedom -> draws of a t distribution.
    """
    rng = score.rng()
    times, widths = stats.bootstrap_draws(n_speakers, rng, stats.N_BOOT)
    freedom = {n - 1 + more for n in range(1, most_seeds + 1) for more in (0, stats.POOLED_DF)} - {0}
    return {
        "speakers": n_speakers,
        "n": stats.N_BOOT,
        "times": packed.array(times.astype(np.uint8)),
        "widths": packed.short(widths),
        "t": {str(df): packed.short(deepcopy(rng).standard_t(df, stats.N_BOOT)) for df in sorted(freedom)},
    }
