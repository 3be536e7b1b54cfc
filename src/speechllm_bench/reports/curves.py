"""Stored learning curves: how they are read, and the trainings that they tell apart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from speechllm_bench.errors import UserError
from speechllm_bench.schema import CURVE_COLUMNS


def read_curve(file: Path) -> pd.DataFrame:
    """A run's curve; UserError where its file is damaged or is another."""
    try:
        curve = pd.read_csv(io.StringIO(_text(file)))
    except ValueError:  # as pandas' own errors are
        raise UserError(f"{file} is damaged; delete its folder and run again") from None
    if tuple(curve.columns) != CURVE_COLUMNS:
        raise UserError(
            f"{file} is not a curve (its columns are {list(curve.columns)}); delete its folder and run again"
        )
    return curve


def _text(file: Path) -> str:
    """Whole lines: one that is cut would show another value, or none, and nobody would see it."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.endswith("\n"):
        raise UserError(f"{file} is damaged or cut short; delete its folder and run again")
    return text


def trained_again(rows: Sequence[dict]) -> list[str]:
    """A sentence a stage that was trained more than once for one seed: for which variants, where it ended.

    Weights of stages are not kept with the records. Where a later run finds none the stage is trained again,
    by the same settings; on another machine it ends a little elsewhere, and so do the rows that stand on it.
    Trainings are told apart by their curves. rows: of `studies.records`.
    """
    ends: dict[tuple[str, str], dict[tuple, tuple[list[str], float]]] = {}  # by stage, by its curve
    for row in rows:
        if row["record"] is None or not (file := row["run"].folder / "curve.csv").is_file():
            continue
        lines = _text(file).splitlines()  # as text: this is done for all studies at once
        for digest, stage in zip(row["run"].stages, row["run"].config.stages, strict=True):
            own = tuple(line for line in lines if line.startswith(f"{stage.name},"))
            losses = [float(line.rpartition(",")[2]) for line in own if ",validation,loss," in line]
            trainings = ends.setdefault((stage.name, digest), {})
            trainings.setdefault(own, ([], losses[-1] if losses else float("nan")))[0].append(row["variant"])
    sentences: dict[tuple, list[str]] = {}
    for (name, _), trainings in ends.items():
        if len(trainings) > 1:
            who = tuple(tuple(variants) for variants, _ in trainings.values())
            losses = " and ".join(f"{last:.4f}" for _, last in trainings.values())
            sentences.setdefault((name, who), []).append(losses)
    return [
        f"The stage {name} was trained {len(who)} times: for "
        f"{', and again for '.join(', '.join(variants) for variants in who)} "
        f"(last validation losses, a seed: {'; '.join(losses)})."
        for (name, who), losses in sentences.items()
    ]
