"""Parts of all figures: their style, learning curves, grouped bars, legends, and the files of a figure.

Functions that draw take a tidy frame and the axes, so a notebook can rearrange panels. A study's figure is
None where nothing was scored.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from speechllm_bench.reports import fonts, tables
from speechllm_bench.reports.looks import COLOURS, Look, Looks, of_names
from speechllm_bench.storage.runs import write_bytes
from speechllm_bench.tasks import MAIN_METRICS, METRICS

fonts.drop_layout()

WIDTHS = {"column": 3.35, "page": 7.0}
"""Width of a column and of the page in inches, where no venue is named."""
VENUES = {
    "acl": {"column": 3.03, "page": 6.30},
    "ieee": {"column": 3.50, "page": 7.16},
    "isca": {"column": 3.15, "page": 6.69},
}
"""Width of a column and of the page in inches: ACL 77 and 160 mm, IEEE 89 and 182 mm, ISCA 80 and 170 mm."""
BEHIND_TEXT = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # keeps names legible over lines
HATCHES = ("", "/////", ".....")
UPRIGHT = {"rotation": 90, "ha": "center", "va": "bottom", "size": 6, "color": "0.35", "zorder": 4}
UPRIGHT |= {"textcoords": "offset points", "bbox": BEHIND_TEXT}
"""Words in the place of a bar."""
WIDEST = 0.3  # of the room of a group of bars, so that a single bar stays a bar
MOST_LINES = 12  # most learning curves, or distinct points, that can be told apart
LINES_A_PANEL = 6  # most learning curves in a panel; more are drawn as small multiples
LEGEND_SHARE = 1 / 3  # largest share of a figure's height that the legend may take
STAGES = {"warm_start": "warm start (CTC)"}  # names of stages that say more than their key
SMALL_PRINT = 20  # letters an inch
LETTER = 0.025  # of a panel's width, at most: a letter of a stage's name

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "lines.linewidth": 1.3,
    "lines.markersize": 5,
    "lines.markeredgewidth": 0.9,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.columnspacing": 1.2,
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType: text in the PDF can be searched and edited
    "svg.hashsalt": "speechllm-bench",
}
METRIC_LABELS = {
    "loss": "loss (nats per target token)",
    "kl": "weighted KL (nats per target token)",
    **{metric.name: metric.shown for metric in METRICS.values()},
}
X_LABELS = {"examples": "examples seen", "step": "optimiser steps", "seconds": "core-seconds (own machine)"}


@contextlib.contextmanager
def for_venue(name: str) -> Iterator[None]:
    """Set the figure widths of a venue, one of `VENUES`, within the context."""
    before = dict(WIDTHS)
    WIDTHS.update(VENUES[name])
    try:
        yield
    finally:
        WIDTHS.update(before)


@mpl.rc_context(STYLE)
def panels(
    n: int = 1, width: str = "column", height: float = 2.4, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `rows` rows of n axes. width: a key of `WIDTHS`. height: inches of one row."""
    figure, axes = plt.subplots(rows, n, figsize=(WIDTHS[width], rows * height), squeeze=False)
    return figure, list(axes.flat)


def groups(names: Sequence[str], most: int = LINES_A_PANEL) -> list[list[str]]:
    """Split the names, in order, into groups of about equal size with at most `most` names each."""
    n = max(1, -(-len(names) // most))
    size = -(-len(names) // n)
    return [list(names[i : i + size]) for i in range(0, max(1, len(names)), max(1, size))]


def same_limits(axes: Sequence[Axes]) -> None:
    """Give axes that show the same quantity the same limits, so that readers can compare them."""
    for which in ("xlim", "ylim"):
        found = [getattr(ax, f"get_{which}")() for ax in axes]
        for ax in axes:
            getattr(ax, f"set_{which}")(min(low for low, _ in found), max(high for _, high in found))


@mpl.rc_context(STYLE)
def learning_curves(
    frame: pd.DataFrame,
    ax: Axes,
    metric: str = "loss",
    split: str = "validation",
    x: str = "examples",
    looks: Looks | None = None,
) -> Axes:
    """Draw one line per variant: the mean over seeds. With several seeds, each one is a thin line as well.

    frame: from `progress.curves`. x: a key of `X_LABELS`. looks: of the variants, None for a frame of no
    study. The mean is drawn where all seeds have a value. Lines stop where a stage ends, since the next may
    learn another task. Dotted lines mark where stages begin. First stages that all share are drawn once.
    """
    chosen = frame[(frame["metric"] == metric) & (frame["split"] == split)]
    common = _common_stages(chosen)
    looks = looks or of_names(frame["variant"].unique())
    starts: dict[float, list[str]] = {}  # where a stage begins -> its name, once per variant
    several = False  # whether a variant has several stages
    for variant, curves in chosen.groupby("variant", sort=False):
        style = looks[variant]
        ends = frame[frame["variant"] == variant].groupby("stage", sort=False)[x].max()
        begins = ends.shift(fill_value=0)  # some stages between may lack the metric
        for stage, points in curves.groupby("stage", sort=False):
            table = points.pivot(index=x, columns="seed", values="value")
            if len(table.columns) > 1:
                ax.plot(table.index, table, color=style.colour, lw=0.5, alpha=0.45)
            mean = table.dropna().mean(axis=1)
            look = {"color": "0.35", "marker": "."} if stage in common else style.line
            if stage not in common or variant == chosen["variant"].iloc[0]:
                ax.plot(mean.index, mean, **look, ms=3.2, markevery=max(1, len(mean) // 8))
            starts.setdefault(begins[stage], []).append(stage)
        several |= curves["stage"].nunique() > 1
    if len(chosen):
        ax.set_xlim(0, 1.04 * chosen[x].max())
    named: list[str] = []
    for start, stages in sorted(starts.items()):
        different = dict.fromkeys(STAGES.get(stage, stage.replace("_", " ")) for stage in stages)
        name = " / ".join(different) if len(different) <= 2 else "next stage"
        if start:
            ax.axvline(start, color="0.6", lw=0.7, ls=":")
        if name in named or not (start or several):
            continue
        end_of_axis = ax.get_xlim()[1]
        has_room = 1 - start / end_of_axis > 0.03 + LETTER * len(name)  # keeps the text inside the axes
        look = {"ha": "left" if has_room else "right", "va": "top", "zorder": 4, "bbox": BEHIND_TEXT}
        look |= {"transform": ax.get_xaxis_transform(), "size": 6, "color": "0.35"}
        offset = 0.015 * end_of_axis * (1 if has_room else -1)
        # One line lower for each name, since two stages may begin close to each other.
        shown = name if has_room else f"{name} →"  # of the stage to the right of the line
        ax.text(start + offset, 1 - 0.08 * len(named), shown, **look)
        named.append(name)
    ax.set_xlabel(X_LABELS[x])
    ax.set_ylabel(METRIC_LABELS.get(metric, metric))
    ax.set_title(split, loc="left", color="0.35")
    room = 1.05 + 0.1 * len(named)  # so that the highest marker is whole, and no stage's name covers it
    if metric in MAIN_METRICS:
        top = chosen["value"].max() if len(chosen) else 0
        ax.set_ylim(0, room * top if top > 0 else 1)
    elif metric == "loss" and len(chosen):
        low = ax.get_ylim()[0]
        ax.set_ylim(top=low + room * (chosen["value"].max() - low))
    ax.xaxis.set_major_formatter(FuncFormatter(count))
    return ax


def _common_stages(chosen: pd.DataFrame) -> list[str]:
    """Return the first stages whose training all variants share, if there are several variants and stages."""
    of_all, stages = chosen["variant"].nunique(), list(chosen["stage"].unique())

    def shared(stage: str) -> bool:
        mine = chosen[chosen["stage"] == stage]
        values = mine.groupby("variant")["value"].agg(lambda own: tuple(map("{:.3g}".format, own)))
        return len(values) == of_all and values.nunique() == 1

    return list(itertools.takewhile(shared, stages)) if of_all > 1 and len(stages) > 1 else []


def with_intervals(ax: Axes, places: Any, frame: pd.DataFrame, metric: str = "f1", /, **look: Any) -> None:
    """Draw the column `metric` with its interval (`low`, `high`) at these places on the x axis."""
    around = [frame[metric] - frame["low"], frame["high"] - frame[metric]]
    ax.errorbar(places, frame[metric], around, **{"capsize": 2} | look)


def point(ax: Axes, x: float, ends: tuple[float, float, float], look: Look, note: str = "") -> None:
    """Draw a labelled marker with its interval. ends: value, low and high."""
    value, low, high = ends
    ax.plot(x, value, color=look.colour, marker=look.marker, ls="", label=look.label + note)
    ax.errorbar(x, value, [[value - low], [high - value]], color=look.colour, ls="", lw=1, capsize=2)


@mpl.rc_context(STYLE)
def grouped_bars(
    frame: pd.DataFrame,
    by: Mapping[str, list[str]],
    ax: Axes,
    looks: Looks,
    metric: str = "f1",
    there: Collection[tuple[str, str]] | None = None,
) -> Axes:
    """Draw the column `metric` with its interval (`low`, `high`) as grouped bars.

    The first column of `by` gives the groups, the second the bars of a group, both in their order. In the
    place of a bar without a number stands NOT RUN. there: the groups and bars of the study. None: all.
    """
    (group, groups), (bar, bars) = by.items()
    shown = [one for one in groups if one in {*frame[group], *(place for place, _ in there or ())}]
    width = min(0.8 / len(bars), WIDEST if len(shown) > 1 else WIDEST / 2)
    times: Counter[str] = Counter()
    for i, name in enumerate(bars):
        drawn, style = frame[frame[bar] == name], looks[name]
        hatch = HATCHES[times[style.colour] % len(HATCHES)]  # tells systems of the same colour apart
        times[style.colour] += 1
        beside = (i + 0.5 - len(bars) / 2) * width
        places = [groups.index(one) + beside for one in drawn[group]]
        fill = {"facecolor": style.colour, "edgecolor": "white", "linewidth": 0, "hatch": hatch}
        ax.bar(places, drawn[metric], width * 0.9, label=style.label, **fill)
        bar_colour = "0.6" if style.colour == COLOURS["black"] else "0.2"  # is seen on the bar as well
        with_intervals(ax, places, drawn, metric, color=bar_colour, ls="", lw=0.8)
        for one in shown:
            if one not in set(drawn[group]):
                known = there is None or (one, name) in there
                place = groups.index(one) + beside, 0
                ax.annotate(tables.NOT_RUN if known else "not in the study", place, (0, 2), **UPRIGHT)
    ax.set_xticks(range(len(groups)), [name.replace("_", " ") for name in groups])
    ax.set_xlim(-0.5, groups.index(shown[-1]) + 0.5)  # room for the name of a group with one bar
    ax.set_ylabel(METRIC_LABELS[metric])
    return ax


@mpl.rc_context(STYLE)
def legend(figure: Figure) -> None:
    """Draw one legend above all panels. It covers no data and is no wider than the page.

    It takes at most `LEGEND_SHARE` of the height. If it needs more, a single panel gets the width of the page
    with the legend on the right, and a figure of several panels becomes taller.
    """
    entries: dict[str, Artist] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    lines = any(isinstance(h, Line2D) and h.get_linestyle() != "None" for h in entries.values())
    named, above = (entries.values(), entries.keys()), {"loc": "outside upper center"}
    for columns in range(6 if figure.get_figwidth() > WIDTHS["column"] else 4, 0, -1):
        drawn = figure.legend(*named, **above, ncols=columns, handlelength=2.6 if lines else 1)
        if columns == 1 or drawn.get_window_extent().width <= figure.bbox.width:
            break
        drawn.remove()
    height = drawn.get_window_extent().height / figure.dpi
    if height <= LEGEND_SHARE * figure.get_figheight():
        return
    if len(figure.axes) > 1:
        figure.set_figheight(1.02 * height / LEGEND_SHARE)
        return
    drawn.remove()
    figure.set_figwidth(WIDTHS["page"])
    drawn = figure.legend(*named, loc="outside right upper")
    height = drawn.get_window_extent().height / figure.dpi
    figure.set_figheight(max(figure.get_figheight(), height))


def count(value: float, _position: int | None = None) -> str:
    """Format a number in short form: 12000 as 12k, 3400000 as 3.4M."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


@mpl.rc_context(STYLE)
def save(figure: Figure, folder: Path, name: str, profile: str, below: str = "") -> list[Path]:
    """Write <name>.pdf and <name>.png (300 dpi), the same bytes for the same figure. Return their paths.

    Panels are laid out once for both files. below: small print; smoke figures have their mark instead.
    """
    if mark := tables.smoke_mark(profile):
        figure.supxlabel(mark, color="#B00020", fontsize=7, fontweight="bold")
    elif below:
        lines = textwrap.wrap(below, int(SMALL_PRINT * figure.get_figwidth()))
        figure.supxlabel("\n".join(lines), color="0.35", fontsize=6)
        figure.set_figheight(figure.get_figheight() + 0.14 * len(lines))
    figure.set_dpi(STYLE["savefig.dpi"])  # the layout measures text at this resolution
    if layout := figure.get_layout_engine():
        layout.execute(figure)
    paths = []
    with mpl.rc_context({"figure.constrained_layout.use": False}):  # savefig restores the setting's engine
        figure.set_layout_engine(None)  # "none" would still draw twice for each file
        for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
            content = io.BytesIO()
            figure.savefig(content, format=ending, metadata=metadata)
            paths.append(folder / f"{name}.{ending}")
            write_bytes(paths[-1], content.getvalue())
    return paths
