"""Families of adapters from small to large: F1, and how far training gets ahead of validation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.experiments import Study
from speechllm_bench.reports import figures, floors, looks
from speechllm_bench.studies import Result

FEW = {False: "many turns", True: "few turns"}


def families(rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """One row a run with an adapter that was scored on the turns' own audio.

    `kind` of adapter, `few` training turns or many, `parameters`, `f1` with `low` and `high`, and `gap`.

    The gap is validation loss less training loss at the end, in nats per target token: overfitting. Of runs
    that share their training the first alone has one.
    """
    lines = []
    for row in rows:
        config = row["run"].config if row["score"] else None
        if config is None or config.adapter is None or config.evaluation.audio == "other":
            continue
        f1 = row["score"]["metrics"]["f1"]
        mine = curve[(curve["variant"] == row["variant"]) & (curve["seed"] == row["seed"])]
        last = mine[mine["metric"] == "loss"].groupby("split")["value"].last()
        lines.append(
            {
                "variant": row["variant"],
                "kind": config.adapter.kind,
                "few": config.stages[-1].train_share is not None,
                "parameters": row["record"]["adapter_parameters"],
                "f1": f1["value"],
                "low": f1["low"],
                "high": f1["high"],
                "gap": last.get("validation", math.nan) - last.get("train", math.nan),
            }
        )
    columns = ["variant", "kind", "few", "parameters", "f1", "low", "high", "gap"]
    return pd.DataFrame(lines, columns=columns).sort_values(["kind", "few", "parameters"])


def families_figure(study: Study, rows: Sequence[Result], curve: pd.DataFrame) -> Figure | None:
    """F1 with intervals, and the gap, over the adapter's parameters; None where nothing was scored.

    A family is a line; filled markers have seen many training turns, hollow ones few.
    """
    frame = families(rows, curve)
    if frame.empty:
        return None
    figure, axes = figures.panels(2, "page")
    adapters = looks.of_axis(study, "adapter", frame["kind"])
    for (kind, few), points in frame.groupby(["kind", "few"]):
        style = adapters[kind]
        drawn = {"color": style.colour, "marker": style.marker, "ls": style.dash, "lw": 0.7 if few else 1.3}
        drawn |= {"mfc": "none"} if few else {}
        bars = [points["f1"] - points["low"], points["high"] - points["f1"]]
        label = f"{style.label}, {FEW[few]}" if few else style.label
        axes[0].plot(points["parameters"], points["f1"], label=label, **drawn)
        axes[0].errorbar(points["parameters"], points["f1"], bars, color=style.colour, ls="", lw=1, capsize=2)
        axes[1].plot(points["parameters"], points["gap"], **drawn)
    for ax, label in zip(axes, ("F1 (partial match)", "validation loss − training loss"), strict=True):
        ax.set_ylabel(label)
        figures.parameters_axis(ax)
    floors.draw(axes[0], rows)
    axes[0].set_ylim(0, None)
    figures.legend(figure)
    return figure
