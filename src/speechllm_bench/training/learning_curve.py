"""Learning curves as CSV files, of one training stage or of consecutive stages joined."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from speechllm_bench.storage import runs, sealed
from speechllm_bench.storage.schema import CURVE_COLUMNS, SECONDS

SPIKE = 5  # times the median gradient norm


@dataclass(frozen=True)
class Point:
    """One value of a learning curve. A loss is in nats per target token."""

    step: int
    examples: int  # seen so far
    split: str
    metric: str
    value: float


def since_last_point(window: list[dict[str, float]]) -> dict[str, float]:
    """Return means over the steps since the last point, and statistics of their gradient norms.

    The statistics are the largest norm and the number of norms above `SPIKE` times the median. Without steps
    the result is empty.
    """
    if not window:
        return {}
    means = {name: sum(step[name] for step in window) / len(window) for name in window[0]}
    norms = [step["gradient_norm"] for step in window]
    limit = SPIKE * statistics.median(norms)
    return means | {
        "gradient_norm_max": max(norms),
        "gradient_spikes": float(sum(n > limit for n in norms)),
    }


def write_curve(stages: Sequence[tuple[str, list[Point]]], path: Path) -> None:
    """Write the curves of named stages as one long CSV: stage, step, examples, split, metric, value."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    for stage, curve in stages:
        writer.writerows([stage, *astuple(point)] for point in curve)
    runs.write_text(path, file.getvalue())


def join_curves(folders: Iterable[tuple[str, Path]], path: Path) -> None:
    """Write the curves of consecutive named stages as one; steps, examples and seconds continue to count.

    folders: the name of each stage in this run, and the folder of the stage.
    """
    header, joined = list(CURVE_COLUMNS), list[list[Any]]()
    steps = examples = seconds = 0
    for stage, folder in folders:  # the file may have another name: the run that trained the stage named it
        header, *rows = csv.reader((folder / "curve.csv").read_text(encoding="utf-8").splitlines())
        for _, step, seen, split, metric, value in rows:
            shown = round(float(value) + seconds, 2) if metric == SECONDS else value
            joined.append([stage, int(step) + steps, int(seen) + examples, split, metric, shown])
        steps, examples = (joined[-1][1], joined[-1][2]) if rows else (steps, examples)
        seconds += sealed.read(folder / "stage.json", runs.DELETE_FOLDER)["seconds"]
    runs.write_text(path, "".join(",".join(map(str, row)) + "\n" for row in [header, *joined]))
