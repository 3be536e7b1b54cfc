"""Stored learning curves: how they are read, and the trainings that they tell apart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from speechllm_bench.errors import UserError
from speechllm_bench.schema import CURVE_COLUMNS, SECONDS
from speechllm_bench.studies import Result

LATER = "f1_v2"
"""A metric that older curves lack, which tells no two trainings apart."""


def read_curve(file: Path, version: int = 1) -> pd.DataFrame:
    """A run's curve, in which `f1` is partial match of this version.

    UserError where its file is damaged or is another.
    """
    try:
        curve = pd.read_csv(io.StringIO(_text(file)))
    except ValueError:  # as pandas' own errors are
        raise UserError(f"{file} is damaged; delete its folder and run again") from None
    if tuple(curve.columns) != CURVE_COLUMNS:
        raise UserError(
            f"{file} is not a curve (its columns are {list(curve.columns)}); delete its folder and run again"
        )
    other = "f1" if version == 2 else LATER
    return curve[curve["metric"] != other].replace({"metric": {LATER: "f1"}}).reset_index(drop=True)


def _text(file: Path) -> str:
    """Whole lines: one that is cut would show another value, or none, and nobody would see it."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.endswith("\n"):
        raise UserError(f"{file} is damaged or cut short; delete its folder and run again")
    return text


def trained_again(rows: Sequence[Result]) -> list[str]:
    """A sentence a stage that was trained more than once for one seed and ended elsewhere: for whom.

    Weights of stages are not kept with the records. Where a later run finds none the stage is trained again,
    by the same settings; on another machine it ends a little elsewhere, and so do the rows that stand on it.
    Trainings are told apart by their curves. rows: of `studies.records`.
    """
    ends: dict[tuple[str, str], dict[tuple, tuple[list[str], str]]] = {}  # by stage, by its curve
    for row in rows:
        if row["record"] is None or not (file := row["run"].folder / "curve.csv").is_file():
            continue
        lines = _text(file).splitlines()  # as text: this is done for all studies at once
        for digest, stage in zip(row["run"].stages, row["run"].config.stages, strict=True):
            mine = (line for line in lines if line.startswith(f"{stage.name},"))
            # No two trainings take as long, and older curves lack the later metric.
            told_apart = (f",train,{SECONDS},", f",{LATER},")
            own = tuple(line for line in mine if not any(part in line for part in told_apart))
            trainings = ends.setdefault((stage.name, digest), {})
            trainings.setdefault(own, ([], _last(own)))[0].append(row["variant"])
    sentences: dict[tuple, list[str]] = {}
    for (name, _), trainings in ends.items():
        if len({end for _, end in trainings.values()}) > 1:
            who = tuple(tuple(variants) for variants, _ in trainings.values())
            sentences.setdefault((name, who), []).append(" against ".join(x for _, x in trainings.values()))
    return [
        f"The stage {name} was trained {len(who)} times: for "
        f"{', and again for '.join(', '.join(variants) for variants in who)} "
        f"(where they ended apart on validation, seed by seed: {'; '.join(found)})."
        for (name, who), found in sentences.items()
    ]


def _last(lines: Sequence[str]) -> str:
    """The last value of each metric of validation among lines of a curve."""
    parts = [line.split(",") for line in lines if ",validation," in line]
    last = {metric: float(value) for *_, metric, value in parts}
    return ", ".join(f"{metric} {value:.3f}" for metric, value in last.items())


def trainings(curve: pd.DataFrame, metric: str) -> int:
    """How many different trainings a metric's curves on validation are of; variants may share one.

    curve: the runs' curve.csv, one below the other, with `variant`. Two are one training where all values of
    the stages that have the metric are the same.
    """
    chosen = curve[(curve["metric"] == metric) & (curve["split"] == "validation")]
    whole = curve[curve["stage"].isin(chosen["stage"]) & curve["variant"].isin(chosen["variant"])]
    return len({tuple(points["value"]) for _, points in whole.groupby("variant")})
