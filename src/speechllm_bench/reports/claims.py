"""What a paper says, put beside what was measured: one verdict a claim (protocol, rule 14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from speechllm_bench.reported import ClaimConfig
from speechllm_bench.reports import floors
from speechllm_bench.schema import Interval
from speechllm_bench.stats import ALPHA, alike, differ
from speechllm_bench.studies import Result

BELOW_FLOOR: Literal["not testable here: below the floor"] = "not testable here: below the floor"
Verdict = Literal[
    "agrees",
    "weak support",
    "no difference",
    "weak contradiction",
    "disagrees",
    "inconclusive",
    "not testable here",
    "not testable here: below the floor",
    "not run",
]


def verdict(
    difference: Interval | None, p: float, testable: bool = True, above_floors: bool = True
) -> Verdict:
    """Judge a claim by the paired difference F1(better) - F1(worse); None when either was not run.

    p: of that difference, after Holm's correction over the study's claims. testable: False where the claim
    is about a scale that was not run. above_floors: False where the side that is ahead does not clear its
    floors.

    agrees, disagrees: the variants differ (rule 13), as claimed or the other way round, over two seeds or
    more. no difference: the whole interval lies within the least difference. weak support, weak
    contradiction: p is below 0.05, but the difference rests on one seed or is below the least one.
    inconclusive: anything else.
    """
    if not testable:
        return "not testable here"
    if difference is None:
        return "not run"
    if not above_floors:
        return BELOW_FLOOR
    if difference.n_speakers == 1:
        return "inconclusive"  # its interval has no width
    if differ(difference, p) and difference.n_seeds > 1:
        return "agrees" if difference.value > 0 else "disagrees"
    if alike(difference):
        return "no difference"
    if p < ALPHA:
        return "weak support" if difference.value > 0 else "weak contradiction"
    return "inconclusive"


def verdict_on_divergence(better: int, worse: int) -> Verdict:
    """Judge a claim by the numbers of seeds on which either variant diverged, at least one of them above 0.

    A training that diverged leaves a model that answers nothing, so the other variant is ahead without a
    score, and the seeds that survived are no fair sample. More than one seed is asked for as in `verdict`.
    """
    if better and worse:
        return "inconclusive"
    if worse:
        return "agrees" if worse > 1 else "weak support"
    return "disagrees" if better > 1 else "weak contradiction"


def below(rows: Sequence[Result], claim: ClaimConfig, found: Interval) -> list[str]:
    """The floors that the side measured ahead does not clear, whichever side the claim names as better.

    Of a difference of differences that is the first variant of the pair whose difference is larger.
    """
    other = claim.beyond[0] if claim.beyond else claim.worse
    ahead = claim.better if found.value >= 0 else other
    return [floor for floor, above in floors.cleared(rows, ahead).items() if above is False]


def diverged(rows: Sequence[Result], claim: ClaimConfig) -> dict[str, int]:
    """On how many seeds variants of the claim diverged; empty unless each of them was run."""
    named = (claim.better, claim.worse, *(claim.beyond or ()))
    done = [(row["variant"], row["status"]) for row in rows if row["record"]]
    if not set(named) <= {variant for variant, _ in done}:
        return {}
    return {name: n for name in named if (n := done.count((name, "diverged")))}
