"""Grouped bars: a metric with its interval, by group and by system. What is not there says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechllm_bench.reports import figures, tables
from speechllm_bench.reports.looks import COLOURS, Looks

HATCHES = ("", "/////", ".....")
WIDEST = 0.3  # of the room of a group, so that a single bar stays a bar


@mpl.rc_context(figures.STYLE)
def grouped_bars(
    frame: pd.DataFrame,
    by: Mapping[str, list[str]],
    ax: Axes,
    looks: Looks,
    metric: str = "f1",
    there: Collection[tuple[str, str]] | None = None,
) -> Axes:
    """Draw the column `metric` with its interval (`low`, `high`) as grouped bars.

    The first column of `by` gives the groups, the second the bars of a group. Both are
    drawn in the order listed. In the place of a bar without a number stands NOT RUN.
    there: the groups and bars that the study has. None: all.
    """
    (group, groups), (bar, bars) = by.items()
    width = min(0.8 / len(bars), WIDEST if frame[group].nunique() > 1 else WIDEST / 2)
    times: Counter[str] = Counter()
    for i, name in enumerate(bars):
        drawn, style = frame[frame[bar] == name], looks[name]
        hatch = HATCHES[times[style.colour] % len(HATCHES)]  # tells systems of the same colour apart
        times[style.colour] += 1
        beside = (i + 0.5 - len(bars) / 2) * width
        places = [groups.index(one) + beside for one in drawn[group]]
        around = [drawn[metric] - drawn["low"], drawn["high"] - drawn[metric]]
        fill = {"facecolor": style.colour, "edgecolor": "white", "linewidth": 0, "hatch": hatch}
        ax.bar(places, drawn[metric], width * 0.9, label=style.label, **fill)
        bar_colour = "0.6" if style.colour == COLOURS["black"] else "0.2"  # is seen on the bar as well
        ax.errorbar(places, drawn[metric], around, color=bar_colour, ls="", lw=0.8, capsize=2)
        for one in frame[group].unique():
            if one not in set(drawn[group]):
                known = there is None or (one, name) in there
                _say(ax, groups.index(one) + beside, tables.NOT_RUN if known else "not in the study")
    ax.set_xticks(range(len(groups)), [name.replace("_", " ") for name in groups])
    ax.set_xlim(-0.5, max(map(groups.index, frame[group])) + 0.5)  # room for the name of a group with one bar
    ax.set_ylabel(figures.METRIC_LABELS[metric])
    return ax


def _say(ax: Axes, place: float, words: str) -> None:
    """Write words upright in the place of a bar."""
    look = {"rotation": 90, "ha": "center", "va": "bottom", "size": 6, "color": "0.35", "zorder": 4}
    at = {"textcoords": "offset points", "bbox": figures.BEHIND_TEXT}
    ax.annotate(words, (place, 0), (0, 2), **look, **at)


def figure_of(
    frame: pd.DataFrame,
    by: Mapping[str, list[str]],
    looks: Looks,
    add: Callable[[Axes], object],
    there: Collection[tuple[str, str]],
) -> Figure:
    """Return a new figure with `grouped_bars` of F1 and a legend. `add` draws more on the axes."""
    figure, (ax,) = figures.panels(1, "page")
    grouped_bars(frame, by, ax, looks, there=there)
    add(ax)
    figures.legend(figure)
    return figure
