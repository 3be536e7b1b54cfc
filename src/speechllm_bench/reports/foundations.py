"""What an LLM of some type or size makes of regular, reasoning and hybrid supervision (2510.19326).

A variant is named after its LLM and then its supervision: `base_regular`, `nano_hybrid_think`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.reports import figures, floors, looks, tables
from speechllm_bench.stats import with_interval

COLUMNS = ["foundation", "supervision", "llm_parameters", "f1", "low", "high"]
COLUMNS += ["change", "change_low", "change_high", "relative", "relative_low", "relative_high"]
CAPTION = (
    "Changes are paired differences to regular supervision of the same LLM. Relative changes are shares of "
    "its F1; there is none where that F1 is below 0.05. In brackets: 95 % interval by bootstrap over "
    "speakers and seeds."
)


def changes(rows: Sequence[dict]) -> pd.DataFrame:
    """One row a foundation and supervision that was scored: F1 with its interval, and what it changes.

    rows: of `studies.records`. `change` is the paired difference to regular supervision of the same
    foundation, `relative` that over regular supervision's F1, on the seeds that both have, with their
    intervals; NaN without it, and `relative` over next to nothing.
    """
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        foundation, supervision = _parts(variant)
        f1 = tables.main_metric(rows, variant) if supervision else None
        if f1 is None:
            continue
        record = next(row["record"] for row in rows if row["variant"] == variant and row["record"])
        line = [foundation, supervision, record["llm_parameters"], f1.value, f1.low, f1.high]
        for of in (tables.gain, tables.relative_gain):
            found = of(rows, variant, f"{foundation}_regular") if supervision != "regular" else None
            line += [found.value, found.low, found.high] if found else [float("nan")] * 3
        lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS)


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """`changes` as they are read: a dash where there is nothing to compare with."""

    def interval(row, value: str, low: str, high: str, sign: str = "") -> str:
        if pd.isna(row[value]):
            return "–"
        return with_interval(row[value], row[low], row[high], sign)

    lines = [
        {
            "Foundation": row["foundation"].replace("_", " "),
            "Supervision": looks.look(row["supervision"]).label,
            "F1": interval(row, "f1", "low", "high"),
            "Change": interval(row, "change", "change_low", "change_high", "+"),
            "Relative": interval(row, "relative", "relative_low", "relative_high", "+"),
        }
        for row in frame.to_dict("records")
    ]
    return pd.DataFrame(lines, columns=["Foundation", "Supervision", "F1", "Change", "Relative"])


def types_figure(rows: Sequence[dict]) -> Figure | None:
    """F1 with intervals, a group of bars a foundation, a bar a supervision; None where nothing was scored."""
    frame = changes(rows)
    if frame.empty:
        return None
    by = {"foundation": list(frame["foundation"].unique()), "supervision": list(looks.SUPERVISIONS)}
    return figures.bars_figure(frame, by, lambda ax: floors.draw(ax, rows))


def scale_figure(rows: Sequence[dict]) -> Figure | None:
    """F1 with intervals over the LLM's parameters, a line a supervision; None where nothing was scored."""
    frame = changes(rows)
    if frame.empty:
        return None
    figure, (ax,) = figures.panels(1, "column")
    for supervision in looks.SUPERVISIONS:
        drawn = frame[frame["supervision"] == supervision].sort_values("llm_parameters")
        style = looks.look(supervision)
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


def _parts(variant: str) -> tuple[str, str | None]:
    """Foundation and supervision of a variant's name; None where it names no supervision."""
    for supervision in sorted(looks.SUPERVISIONS, key=len, reverse=True):
        if variant.endswith(f"_{supervision}"):
            return variant.removesuffix(f"_{supervision}"), supervision
    return variant, None
