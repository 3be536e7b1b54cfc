"""What a paper says, put beside what was measured: one verdict a claim (protocol, rule 14)."""

from __future__ import annotations

from typing import Literal

from speechllm_bench.schema import Interval
from speechllm_bench.stats import differ

Verdict = Literal[
    "agrees",
    "direction only",
    "disagrees",
    "direction against",
    "inconclusive",
    "not testable at this scale",
    "not run",
]


def verdict(difference: Interval | None, testable: bool = True) -> Verdict:
    """Judge a claim by the paired difference F1(better) - F1(worse); None when either was not run.

    agrees, disagrees: over two seeds or more the variants differ (rule 13), as claimed or the other way
    round. direction only, direction against: they differ, but on one seed; or on several, with an interval
    that leaves out 0 around a difference too small for rule 13. inconclusive: anything else. `testable` is
    False where the claim is about a scale that was not run.
    """
    if not testable:
        return "not testable at this scale"
    if difference is None:
        return "not run"
    if difference.n_speakers == 1:
        return "inconclusive"  # its interval has no width
    differing, several = differ(difference), difference.n_seeds > 1
    if differing and several:
        return "agrees" if difference.value > 0 else "disagrees"
    if not (differing or several):
        return "inconclusive"
    if difference.low > 0:
        return "direction only"
    return "direction against" if difference.high < 0 else "inconclusive"


def verdict_on_divergence(better: int, worse: int) -> Verdict:
    """Judge a claim by the numbers of seeds on which either variant diverged, at least one of them above 0.

    A training that diverged leaves a model that answers nothing, so the other variant is ahead without a
    score, and the seeds that survived are no fair sample. More than one seed is asked for as in `verdict`.
    """
    if better and worse:
        return "inconclusive"
    if worse:
        return "agrees" if worse > 1 else "direction only"
    return "disagrees" if better > 1 else "direction against"
