"""Verdicts on the papers' claims: each claim is compared with our measurement (protocol, rule 14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from speechllm_bench import stats
from speechllm_bench.evaluation import score
from speechllm_bench.planning import studies
from speechllm_bench.planning.stored_runs import scores_of
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import floors, measured, tables
from speechllm_bench.reports.tables import ONE_SEED_NOTE
from speechllm_bench.settings.experiments import Study
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.settings.reported import ClaimConfig
from speechllm_bench.stats import ALPHA, ONE_SEED, alike, differ, with_interval
from speechllm_bench.storage.schema import Interval
from speechllm_bench.tasks import METRICS

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

    p: of that difference, after Holm's correction over the study's claims. testable: False where the
    claim is about a scale that was not run. above_floors: False where the side with the higher score
    does not clear its floors.

    agrees, disagrees: the variants differ (rule 13) over two seeds or more, in the claimed or the opposite
    direction. no difference: the whole interval lies within the least difference. weak support, weak
    contradiction: p is below 0.05, but the difference rests on one seed or is below the least difference.
    inconclusive: anything else, and every difference with one speaker.
    """
    if not testable:
        return "not testable here"
    if difference is None:
        return "not run"
    if not above_floors:
        return BELOW_FLOOR
    if difference.n_speakers == 1:
        return "inconclusive"  # the interval has no width
    if differ(difference, p) and difference.n_seeds > 1:
        return "agrees" if difference.value > 0 else "disagrees"
    if alike(difference):
        return "no difference"
    if p < ALPHA:
        return "weak support" if difference.value > 0 else "weak contradiction"
    return "inconclusive"


def decided(supports: bool, n_seeds: int) -> Verdict:
    """Return the verdict on a claim that holds or does not. It is a weak one with a single seed."""
    if supports:
        return "agrees" if n_seeds > 1 else "weak support"
    return "disagrees" if n_seeds > 1 else "weak contradiction"


def verdict_on_divergence(better: int, worse: int) -> Verdict:
    """Judge a claim by the numbers of seeds on which each variant diverged. At least one number is above 0.

    A diverged training leaves no model that can answer, so the other variant is ahead without a score. The
    seeds that did not diverge are a biased sample. As in `verdict`, a full verdict needs more than one seed.
    """
    if better and worse:
        return "inconclusive"
    return decided(bool(worse), worse or better)


EMPTY_ANSWER = "empty answer"


def below(rows: Sequence[Result], claim: ClaimConfig, found: Interval) -> list[str]:
    """Return the floors that the side with the higher score does not clear, whichever side the claim favours.

    For a difference of differences, that side is the first variant of the pair with the larger difference. A
    side with nothing right is below `EMPTY_ANSWER`.
    """
    other = claim.beyond[0] if claim.beyond else claim.worse
    ahead = claim.better if found.value >= 0 else other
    empty = [EMPTY_ANSWER] if floors.nothing_right(rows, ahead) else []
    return [*empty, *(floor for floor, above in floors.cleared(rows, ahead).items() if above is False)]


def _below_surviving(rows: Sequence[Result], claim: ClaimConfig, ended: Mapping[str, int]) -> list[str]:
    """Return the floors that a variant does not clear if it is ahead since the other one diverged."""
    surviving = [name for name in (claim.better, claim.worse) if name not in ended]
    if not ended or claim.beyond or len(surviving) != 1:
        return []
    return [floor for floor, above in floors.cleared(rows, surviving[0]).items() if above is False]


def reversing(rows: Sequence[Result], claim: ClaimConfig, found: Interval) -> list[str]:
    """Return the headings of the table's other scores by which the claim's difference is reversed.

    By such a score its whole interval lies on the other side of 0. Empty where `found` itself may be 0.
    """
    if found.low <= 0 <= found.high:
        return []
    held = next(iter(scores_of(rows, claim.better).values()))
    main = METRICS[score.main_metric(held)]
    against = []
    for metric in tables.of_task(score.task_of(held)):
        alike = (metric.unit, metric.lower_is_better) == (main.unit, main.lower_is_better)
        if alike and metric.name in held["metrics"] and metric.column in ("plain", "later"):
            other = measured.gain(rows, claim.better, claim.worse, claim.beyond, metric.name)
            if other and (other.high < 0 < found.low or found.high < 0 < other.low):
                against.append(metric.heading)
    return against


def diverged(rows: Sequence[Result], claim: ClaimConfig) -> dict[str, int]:
    """Return the number of diverged seeds by variant of the claim. Empty unless every variant was run."""
    done = [(row["variant"], row["status"]) for row in rows if row["record"]]
    if not set(claim.variants) <= {variant for variant, _ in done}:
        return {}
    return {name: n for name in claim.variants if (n := done.count((name, "diverged")))}


CAPTION = (
    "Differences are paired, with 95 % intervals. p is two-sided, after Holm's correction over the claims of "
    "the study that can be tested. docs/glossary.md explains the verdicts."
)
REVERSED_BY = (
    "Reversed by: other scores of the same answers, by which the whole interval of the difference lies on "
    "the other side of 0."
)
NONE_TESTED = "No claim could be tested at this profile."
CLAIM_COLUMNS = [
    *("claim", "source", "compared", "difference", "low", "high", "p", "se", "seeds", "below", "diverged"),
    *("reversed_by", "verdict"),
]


def verdicts(study: Study, rows: Sequence[Result]) -> pd.DataFrame:
    """Return each claim of the papers with its source, the paired difference that tests it, and the verdict.

    Where a variant diverged, the verdict rests on the divergence, and there is no difference. p is after
    Holm's correction over the claims that can be tested.
    """
    lines = [_tested(rows, claim) | {"compared": study.compared(claim)} for claim in study.claims]
    judged = [line for line in lines if line["found"] and line["testable"]]
    for line, p in zip(judged, stats.holm([line["found"].p for line in judged]), strict=True):
        line["p"] = p
    return pd.DataFrame([line | {"verdict": _judged(line)} for line in lines], columns=CLAIM_COLUMNS)


def _tested(rows: Sequence[Result], claim: ClaimConfig) -> dict:
    """Return the columns of a claim without its verdict, and what the verdict needs besides."""
    without_meaning = {row["variant"] for row in rows if row["status"] == studies.NOT_TESTABLE}
    of_our_scale = claim.scale is None or all(base_profile(row["profile"]) == "paper" for row in rows)
    testable = of_our_scale and without_meaning.isdisjoint(claim.variants)
    ended = diverged(rows, claim) if testable else {}
    found = None if ended else measured.gain(rows, claim.better, claim.worse, claim.beyond)
    line: dict[str, Any] = {"claim": claim.claim, "source": claim.source}
    line["diverged"] = ", ".join(f"{name} diverged on {n}" for name, n in ended.items())
    under = below(rows, claim, found) if found else _below_surviving(rows, claim, ended)
    against = reversing(rows, claim, found) if found and testable and not under else []
    line |= {"below": ", ".join(under), "reversed_by": "; ".join(against)}
    if found:
        line |= {"difference": found.value, "low": found.low, "high": found.high}
        line |= {"se": found.standard_error, "seeds": found.n_seeds}
    return line | {"config": claim, "found": found, "testable": testable, "ended": ended}


def _judged(line: dict) -> Verdict:
    claim, ended = line["config"], line["ended"]
    if ended and claim.beyond:
        return "inconclusive"
    if ended and line["below"]:
        return BELOW_FLOOR
    if ended:
        return verdict_on_divergence(ended.get(claim.better, 0), ended.get(claim.worse, 0))
    return verdict(line["found"], line.get("p", 1.0), line["testable"], not line["below"])


def caption(found: pd.DataFrame) -> str:
    """Return the caption of a table of `verdicts`. It says so where no claim was tested."""
    if found["difference"].isna().all() and found["diverged"].eq("").all():
        return f"{NONE_TESTED} docs/glossary.md explains the verdicts."
    return " ".join([CAPTION, *notes(found)])


def notes(found: pd.DataFrame) -> list[str]:
    """Return sentences: on one seed, the smallest difference that can be shown, and other scores."""
    alone = f"{ONE_SEED} marks differences of one seed: {ONE_SEED_NOTE}"
    against = [REVERSED_BY] if found["reversed_by"].fillna("").any() else []
    power = tables.smallest_shown(found["se"].dropna())
    return [*([alone] if found["seeds"].eq(1).any() else []), *power, *against]


def show_verdicts(found: pd.DataFrame) -> pd.DataFrame:
    """Return the verdicts for display. One column has the difference with its interval, or what diverged."""
    shown, p_values = [], []
    for row in found.itertuples():
        mark = ONE_SEED if row.seeds == 1 else ""
        number = pd.notna(row.difference) and with_interval(row.difference, row.low, row.high, "+", mark)
        shown.append(number or row.diverged or "–")
        p_values.append(stats.p_shown(row.p) if pd.notna(row.p) else "–")
    columns = found[["claim", "source", "compared"]]
    table = columns.assign(difference=shown, **{"p (Holm)": p_values}, verdict=found["verdict"])
    against = found["reversed_by"].fillna("")
    return table.assign(**{"reversed by": against.replace("", "–")}) if against.any() else table
