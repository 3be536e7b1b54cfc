"""What an LLM of some type or size makes of regular, reasoning and hybrid supervision (2510.19326).

Variants have a value on the axes `llm` and `supervision`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.experiments import Study
from speechllm_bench.reports import figures, floors, looks, tables
from speechllm_bench.stats import with_interval
from speechllm_bench.studies import Result

USUAL = "regular"  # the supervision that changes are from
COLUMNS = ["foundation", "supervision", "llm_parameters", "f1", "low", "high"]
COLUMNS += ["change", "change_low", "change_high", "relative", "relative_low", "relative_high"]
CAPTION = (
    "Changes are paired differences to regular supervision of the same LLM. Relative changes are shares of "
    "its F1; there is none where that F1 is below 0.05. In brackets: 95 % interval by bootstrap over "
    "speakers and seeds."
)


def changes(rows: Sequence[Result]) -> pd.DataFrame:
    """One row a foundation and supervision that was scored: F1 with its interval, and what it changes.

    rows: of `studies.records`. `change` is the paired difference to regular supervision of the same
    foundation, `relative` that over regular supervision's F1, on the seeds that both have, with their
    intervals; NaN without it, and `relative` over next to nothing.
    """
    taught = {
        (row["axes"]["llm"], row["axes"]["supervision"]): row["variant"]
        for row in rows
        if {"llm", "supervision"} == row["axes"].keys()
    }
    lines = []
    for (foundation, supervision), variant in taught.items():
        if (f1 := tables.main_metric(rows, variant)) is None:
            continue
        record = next(row["record"] for row in rows if row["variant"] == variant and row["record"])
        line = [foundation, supervision, record["llm_parameters"], f1.value, f1.low, f1.high]
        regular = taught.get((foundation, USUAL))
        for of in (tables.gain, tables.relative_gain):
            found = of(rows, variant, regular) if regular and supervision != USUAL else None
            line += [found.value, found.low, found.high] if found else [float("nan")] * 3
        lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS)


def display(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """`changes` as they are read: a dash where there is nothing to compare with."""
    supervisions = looks.of_axis(study, "supervision")

    def interval(row, value: str, low: str, high: str, sign: str = "") -> str:
        if pd.isna(row[value]):
            return "–"
        return with_interval(row[value], row[low], row[high], sign)

    lines = [
        {
            "Foundation": row["foundation"].replace("_", " "),
            "Supervision": supervisions[row["supervision"]].label,
            "F1": interval(row, "f1", "low", "high"),
            "Change": interval(row, "change", "change_low", "change_high", "+"),
            "Relative": interval(row, "relative", "relative_low", "relative_high", "+"),
        }
        for row in frame.to_dict("records")
    ]
    return pd.DataFrame(lines, columns=["Foundation", "Supervision", "F1", "Change", "Relative"])


def types_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """F1 with intervals, a group of bars a foundation, a bar a supervision; None where nothing was scored."""
    frame = changes(rows)
    if frame.empty:
        return None
    own = looks.of_axis(study, "supervision")
    by = {"foundation": list(frame["foundation"].unique()), "supervision": list(own)}
    return figures.bars_figure(frame, by, own, lambda ax: floors.draw(ax, rows))


def scale_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """F1 with intervals over the LLM's parameters, a line a supervision; None where nothing was scored."""
    frame = changes(rows)
    if frame.empty:
        return None
    figure, (ax,) = figures.panels(1, "column")
    for supervision, style in looks.of_axis(study, "supervision").items():
        drawn = frame[frame["supervision"] == supervision].sort_values("llm_parameters")
        bars = [drawn["f1"] - drawn["low"], drawn["high"] - drawn["f1"]]
        look = {"color": style.colour, "marker": style.marker, "ls": style.dash, "elinewidth": 1}
        ax.errorbar(drawn["llm_parameters"], drawn["f1"], bars, label=style.label, capsize=2, **look)
    floors.draw(ax, rows)
    figures.parameters_axis(ax)
    ax.set_xlabel("parameters of the LLM")
    ax.set_ylabel("F1 (partial match)")
    ax.set_ylim(0, None)
    figures.legend(figure)
    return figure
