"""How soon each training reaches the F1 on validation with which the study's baseline ends."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import floors
from speechllm_bench.settings.experiments import Study

COUNTED = ("last stage", "all stages")
CAPTION = (
    "Examples until the F1 on validation is for the first time what the baseline ends with on the same seed. "
    "The F1 is decoded a few times in a training, so numbers are as coarse as those steps. Examples are "
    "means over the seeds that reach it. Sooner: seeds on which the training needs fewer examples than the "
    "baseline. The verdict needs more than one seed, and the same answer on all of them."
)
NEVER = float("inf")


def table(study: Study, rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """Return two rows per training other than the baseline's: examples of its last stage, and of all stages.

    rows: from `studies.records`. curve: from `progress.curves`. All cells are text. Empty without a curve of
    the baseline.
    """
    base = reached(curve, study.baseline, study.baseline)
    above = floors.above(rows, study.baseline)
    lines = []
    for variant in curve["variant"].unique():
        own = reached(curve, variant, study.baseline)
        shared = [seed for seed in own if seed in base]
        if variant == study.baseline or not shared:
            continue
        for place, counted in enumerate(COUNTED):
            pairs = [(own[seed][place], base[seed][place]) for seed in shared]
            sooner = [a < b for a, b in pairs]
            lines.append(
                {
                    "training": variant,
                    "counted": counted,
                    "examples of the baseline": _mean([b for _, b in pairs]),
                    "examples": _mean([a for a, _ in pairs]),
                    "sooner": f"{sum(sooner)} of {len(sooner)} seeds",
                    "verdict": verdict(pairs) if above is not False else "not testable here: below the floor",
                }
            )
    return pd.DataFrame(lines)


def reached(curve: pd.DataFrame, variant: str, baseline: str) -> dict[int, tuple[float, float]]:
    """Return seed -> examples until the variant's validation F1 reaches the baseline's last one.

    The two numbers are the examples in its last stage alone and in all stages; infinite where it is never
    reached. Points of earlier stages count as reached with 0 examples of the last stage.
    """
    f1 = curve[(curve["metric"] == "f1") & (curve["split"] == "validation")]
    levels = f1[f1["variant"] == baseline].groupby("seed")["value"].last()
    found = {}
    for seed, points in f1[f1["variant"] == variant].groupby("seed"):
        if seed not in levels:
            continue
        first = points.loc[points["value"] >= levels[seed], "examples"].min()
        whole = curve[(curve["variant"] == variant) & (curve["seed"] == seed)]
        last = whole["stage"].iloc[-1]
        before = whole.loc[whole["stage"] != last, "examples"].max()
        before = 0 if pd.isna(before) else before
        found[int(seed)] = (NEVER, NEVER) if pd.isna(first) else (max(0.0, first - before), float(first))
    return found


def verdict(pairs: Sequence[tuple[float, float]]) -> str:
    """Judge "the training converges sooner" by (its examples, the baseline's) of each seed."""
    if all(a < b for a, b in pairs):
        return "agrees" if len(pairs) > 1 else "weak support"
    if all(a > b for a, b in pairs):
        return "disagrees" if len(pairs) > 1 else "weak contradiction"
    return "inconclusive"


def _mean(examples: Sequence[float]) -> str:
    there = [n for n in examples if n != NEVER]
    return f"{sum(there) / len(there):,.0f}" if there else "never"
