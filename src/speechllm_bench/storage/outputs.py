"""Outputs of a run, read back: its answers and its learning curve. A damaged file raises UserError."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import CURVE_COLUMNS, Prediction

if TYPE_CHECKING:
    import pandas as pd

LATER = "f1_v2"
"""A metric that older curves lack, so a difference in it does not mean another training."""


def read_predictions(file: Path, remedy: str) -> list[Prediction]:
    """Return all answers in a file. UserError, with the remedy, where it is missing or damaged."""
    if not file.is_file():
        raise UserError(f"{file} is missing; {remedy}")
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            found = [Prediction.from_json(json.loads(line)) for line in lines]
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, RecursionError, TypeError, KeyError):
        found = []  # cut short, another file, or damaged compression, JSON or records
    if not found:
        raise UserError(f"{file} is damaged; {remedy}")
    return found


def read_curve(file: Path, version: int = 1) -> pd.DataFrame:
    """Return a run's curve, in which `f1` is partial match of this version. UserError for any other file."""
    import pandas as pd  # half a second, which planning does not need

    try:
        curve = pd.read_csv(io.StringIO(curve_text(file)))
    except ValueError:  # pandas' parser errors are ValueErrors
        raise UserError(f"{file} is damaged; delete its folder and run again") from None
    if tuple(columns := curve.columns) != CURVE_COLUMNS:
        raise UserError(f"{file} is not a curve (columns: {list(columns)}); delete its folder and run again")
    other = "f1" if version == 2 else LATER
    return curve[curve["metric"] != other].replace({"metric": {LATER: "f1"}}).reset_index(drop=True)


def ended(lines: Iterable[str]) -> str:
    """Return where lines of a curve end on validation, such as "loss 0.512, f1 0.25".

    Trainings of one stage are told apart by it. Weights of stages are not stored with the records, so a
    machine without them trains a stage again, and ends elsewhere. Last digits may differ by machine alone.
    """
    parts = [line.split(",") for line in lines if ",validation," in line and f",{LATER}," not in line]
    last = {metric: float(value) for *_, metric, value in parts}
    return ", ".join(f"{metric} {value:.3f}" for metric, value in last.items())


def last_stage_ended(file: Path) -> str:
    """Return where the last stage of a curve file ended on validation, as `ended` has it."""
    lines = curve_text(file).splitlines()
    stage = lines[-1].partition(",")[0] + ","
    return ended(line for line in lines if line.startswith(stage))


def curve_text(file: Path) -> str:
    """Return the text of a curve file. UserError for a cut last line, which could show a wrong value."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.endswith("\n"):
        raise UserError(f"{file} is damaged or cut short; delete its folder and run again")
    return text
