"""The share of its F1 on test set A that each system loses on test set B, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from speechllm_bench import stats
from speechllm_bench.evaluation import score, seeds
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import breakdown, floors
from speechllm_bench.reports.stored_runs import scores_of
from speechllm_bench.stats import LEAST_DIFFERENCE, Comparison
from speechllm_bench.tasks import METRICS

METRIC = "f1"
CAPTION = (
    "Lost: the share of the F1 on A that is missing on B. There is none where the F1 on A is below 0.05. "
    "Above floors: whether the system clears the floors of A and of B-OOD; if not, its share lost tells "
    "little. In brackets: 95 % interval by bootstrap over the speakers of each test set, and over seeds."
)


def table(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per system that was scored on A: F1 on each test set, and the share lost on B.

    2510.15851 reports a loss of 40 to 60 % on unseen slot types for every system. rows: from
    `studies.records`. All cells are text, "–" where there is no value. `attrs["rests_on"]` maps each system
    to the variants that its row is made of.
    """
    found = breakdown.systems(rows)
    lines, rests_on = [], {}
    for system, sets in breakdown.by_system(rows).items():
        f1 = found[found["system"] == system].set_index("set")
        if "A" not in f1.index:
            continue
        named = {called: some[0]["variant"] for called, some in sets.items()}
        line = {"system": system}
        for called in breakdown.SETS:
            line[f"F1 on {called}"] = _shown(f1.loc[called] if called in f1.index else None)
        for called in breakdown.SETS[1:]:
            line[f"lost on {called}"] = _shown(lost(rows, system, named[called]) if called in named else None)
        above = [floors.above(rows, named[called]) for called in ("A", "B-OOD")]
        line["above floors"] = "no" if False in above else "–" if None in above else "yes"
        lines.append(line)
        rests_on[system] = list(named.values())
    frame = pd.DataFrame(lines)
    frame.attrs["rests_on"] = rests_on
    return frame


def lost(rows: Sequence[Result], variant: str, elsewhere: str) -> Comparison | None:
    """Return 1 - F1(elsewhere) / F1(variant), on the seeds that both have.

    variant, elsewhere: one system on two test sets with different speakers. None where no seed is shared, or
    where F1(variant) is below `LEAST_DIFFERENCE`, since a share of almost nothing has no meaning.
    """
    own, other = (scores_of(rows, name) for name in (variant, elsewhere))
    if not (shared := sorted(own.keys() & other.keys())):
        return None
    of = METRICS[METRIC].rule
    pair = [stats.stack_seeds([score.speaker_sums(one[s], METRIC) for s in shared]) for one in (own, other)]
    at_home, away = (float(of(part.sums.sum(axis=1)).mean()) for part in pair)
    if at_home < LEAST_DIFFERENCE:
        return None
    # First-order variance of the quotient between seeds, with its derivatives as weights.
    weights = [away / at_home**2, -1 / at_home]
    between = seeds.variance([own[shared[0]], other[shared[0]]], weights, METRIC)

    def share(sums: np.ndarray) -> np.ndarray:
        before, after = (of(part) for part in np.split(sums, 2, axis=-1))
        return 1 - after / np.maximum(before, 1e-9)  # a draw without any right value has F1 0

    return stats.within(
        stats.contrast_of_test_sets([pair], [1], share, score.rng(), between), -float("inf"), 1
    )


def _shown(found: Comparison | pd.Series | None) -> str:
    if found is None:
        return "–"
    value = found.value if isinstance(found, Comparison) else found["f1"]
    return stats.with_interval(value, found.low, found.high)
