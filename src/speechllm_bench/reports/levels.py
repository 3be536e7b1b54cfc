"""One model at fixed levels of what stands around a question: F1 by turns of context and by distractors."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechllm_bench.evaluation import score
from speechllm_bench.reports import figures, floors
from speechllm_bench.studies import Result

AXES = {"context": "turns of context", "distractors": "distractors"}
COLOURS = ("#0072B2", "#D55E00")
COLUMNS = ["variant", *AXES, "wording", "slot_types", "described in training", "f1", "low", "high"]


def levels(rows: Sequence[Result]) -> pd.DataFrame:
    """One row a variant that was scored on its own audio: how its questions were put, and F1 with interval.

    rows: of `studies.records`. NaN in `context` and `distractors` where numbers are drawn as in training.
    """
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == variant and row["score"]]
        asked = mine[0]["run"].config.evaluation if mine else None
        if asked is None or asked.audio == "other" or asked.answerer != "model":
            continue
        config, f1 = mine[0]["run"].config, score.interval([row["score"] for row in mine], "f1")
        taught = next((s.described for s in config.stages if s.described), 0.0)
        put = (asked.context, asked.distractors, asked.wording or "named", asked.slot_types)
        lines.append((variant, *put, taught, f1.value, f1.low, f1.high))
    return pd.DataFrame(lines, columns=COLUMNS).astype(dict.fromkeys(AXES, float))


def levels_figure(rows: Sequence[Result]) -> Figure | None:
    """F1 with intervals over turns of context and over distractors; None where no level was scored.

    A line joins the levels of one number at one level of the other.
    """
    frame = levels(rows).dropna(subset=list(AXES))
    if frame.empty:
        return None
    figure, axes = figures.panels(len(AXES), "page")
    for ax, (varied, label), held, colour in zip(axes, AXES.items(), reversed(AXES), COLOURS, strict=True):
        sizes = frame.groupby(held)[varied].transform("size")
        for level, points in frame[sizes == sizes.max()].sort_values(varied).groupby(held):
            bars = [points["f1"] - points["low"], points["high"] - points["f1"]]
            line = f"{level:.0f} {AXES[held]}"
            style = {"marker": "o", "ms": 4, "elinewidth": 1, "capsize": 2, "color": colour}
            ax.errorbar(points[varied], points["f1"], bars, label=line, **style)
        _draw_floors(ax, rows, varied, held)
        ax.set_xlabel(label)
        ax.set_ylabel("F1 (partial match)")
        ax.set_ylim(0, 1.1 * frame["high"].max() or 1)
        ax.xaxis.get_major_locator().set_params(integer=True)
    figures.legend(figure)
    return figure


def _draw_floors(ax: Axes, rows: Sequence[Result], varied: str, held: str) -> None:
    """The floors of the questions asked: they depend on the number of distractors and on no context."""
    drawn = levels(rows).dropna(subset=list(AXES))
    found = {
        asked[2]: of_group
        for asked, of_group in floors.scored(rows).items()
        if asked[:2] == ("A-test", "in_domain") and asked[2] is not None
    }
    for answerer, (label, dash) in floors.LINES.items():
        known = {level: some[answerer].value for level, some in sorted(found.items()) if answerer in some}
        if varied == "distractors" and known:
            ax.plot(list(known), list(known.values()), color="0.35", lw=0.9, ls=dash, label=label)
        for level in drawn[held].unique() if varied == "context" else ():
            if level in known:
                floors.line(ax, known[level], label, dash)
