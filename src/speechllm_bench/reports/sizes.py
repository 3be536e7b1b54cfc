"""Scores by size: trained parameters, families of adapters, and LLMs by their supervision."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import bars, figures, floors, looks, measured
from speechllm_bench.reports.looks import Looks
from speechllm_bench.settings.experiments import Study
from speechllm_bench.stats import with_interval
from speechllm_bench.tasks import MAIN_METRICS

BESIDE = 1.06  # factor on the x position of each further variant of the same size


def parameters_figure(study: Study, frame: pd.DataFrame) -> Figure | None:
    """Draw each task's main metric with intervals over trained parameters.

    None where no trained variant was scored, where most variants have the same size, and where there are more
    points than a reader can tell apart.
    """
    if len(that_learn(frame)) > figures.MOST_LINES:
        return None
    asked = {name: floors.questions_of(study.variant(name).evaluation) for name in study.variants}
    of_questions = [asked[name] for name in frame["variant"]]
    parts = {
        (metric, questions): part
        for metric in MAIN_METRICS
        for questions in dict.fromkeys(of_questions)
        if metric in frame and sizes_tell(part := frame[[q == questions for q in of_questions]], metric)
    }
    if not parts:
        return None
    times = Counter(metric for metric, _ in parts)
    figure, axes = figures.panels(len(parts), "column" if len(parts) == 1 else "page")
    answerers = {name: study.variant(name).evaluation.answerer for name in study.variants}
    for ((metric, questions), part), ax in zip(parts.items(), axes, strict=True):
        metric_against_parameters(part, ax, looks.of(study), metric)
        if metric == "f1":
            floors.draw_of_table(ax, part, answerers)
        if times[metric] > 1:
            ax.set_title(questions.shown, loc="left", color="0.35", size=8)
    for metric in times:
        figures.same_limits([ax for ax, (shown, _) in zip(axes, parts, strict=True) if shown == metric])
    figures.legend(figure)
    return figure


@mpl.rc_context(figures.STYLE)
def metric_against_parameters(frame: pd.DataFrame, ax: Axes, looks: Looks, metric: str = "f1") -> Axes:
    """Draw our metric with its interval over trained parameters (log scale). The label has the paper's value.

    frame: from `measured.study_table`. Variants that train nothing are left out, since the axis has no 0.
    Reported figures have no marker: the paper's models have other sizes, and its scale would flatten ours.
    metric: one of `tasks.MAIN_METRICS`. Variants of one size are drawn side by side.
    """
    drawn: Counter[float] = Counter()
    for row in that_learn(frame).to_dict("records"):
        style, size = looks[row["variant"]], row["trained_parameters"]
        value, low, high = (row[metric + end] for end in ("", "_low", "_high"))
        if pd.isna(value) and metric != "f1":
            continue  # the variant has another task
        if pd.notna(value):
            drawn[size] += 1
            size *= BESIDE ** (drawn[size] - 1)
            paper = f" (paper: {row['reported']:.3g})" if pd.notna(row["reported"]) else ""
            ax.plot(size, value, color=style.colour, marker=style.marker, ls="", label=style.label + paper)
            bars = [[value - low], [high - value]]
            ax.errorbar(size, value, bars, color=style.colour, ls="", lw=1, capsize=2)
    ax.set_ylim(0, None)
    ax.set_ylabel(figures.METRIC_LABELS[metric])
    figures.parameters_axis(ax)
    if max(drawn.values(), default=1) > 1:
        ax.set_xlabel("trained parameters\n(variants of one size\nstand side by side)")
    return ax


def sizes_tell(frame: pd.DataFrame, metric: str) -> bool:
    """Return whether sizes spread the points: at most about half of the variants that hear share one size.

    frame: from `measured.study_table`. Otherwise all points would be drawn above each other.
    """
    learned = that_learn(frame)
    hear = learned[learned["floor"].isna()] if "floor" in learned else learned
    sizes = hear.loc[hear[metric].notna(), "trained_parameters"].value_counts()
    return len(sizes) > 1 and sizes.iloc[0] <= (sizes.sum() + 1) // 2


def that_learn(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the variants of a `measured.study_table` that were run and train something."""
    return frame[frame["trained_parameters"].fillna(0) > 0]


FEW = {False: "many turns", True: "few turns"}


def families(rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run with an adapter that was scored on the turns' own audio.

    `kind` of adapter, `few` training turns or many, `parameters`, `f1` with `low` and `high`, and `gap`.

    The gap is validation loss minus training loss at the end, in nats per target token; it measures
    overfitting. Of runs that share a training, only the first has a gap.
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
    """Draw F1 with intervals, and the gap, over the adapter's parameters. None where nothing was scored.

    Each family is a line. Filled markers are models trained on many turns, hollow ones on few.
    """
    frame = families(rows, curve)
    if frame.empty:
        return None
    shares = list(dict.fromkeys(frame["few"].sort_values()))
    figure, axes = figures.panels(2, "page", rows=len(shares))
    adapters = looks.of_axis(study, "adapter", frame["kind"])
    for (kind, few), points in frame.groupby(["kind", "few"]):
        style = adapters[kind]
        drawn = {"color": style.colour, "marker": style.marker, "ls": style.dash, "lw": 0.7 if few else 1.3}
        drawn |= {"mfc": "none"} if few else {}
        bars = [points["f1"] - points["low"], points["high"] - points["f1"]]
        of_f1, of_gap = axes[2 * shares.index(few) :][:2]
        of_f1.plot(points["parameters"], points["f1"], label=style.label, **drawn)
        of_f1.errorbar(points["parameters"], points["f1"], bars, color=style.colour, ls="", lw=1, capsize=2)
        of_gap.plot(points["parameters"], points["gap"], **drawn)
    for i, ax in enumerate(axes):
        ax.set_title(FEW[shares[i // 2]], loc="left", color="0.35", size=8)
        ax.set_ylabel("validation loss − training loss" if i % 2 else "F1 (partial match)")
        figures.parameters_axis(ax)
    for ax in axes[::2]:
        floors.draw(ax, rows)
        ax.set_ylim(0, None)
    for ax in axes[1::2]:
        ax.margins(y=0.1)
        ax.update_datalim(
            [(frame["parameters"].min(), gap) for gap in (frame["gap"].min(), frame["gap"].max())]
        )
    for column in (axes[::2], axes[1::2]):
        figures.same_limits(column)
    figures.legend(figure)
    return figure


USUAL = "regular"  # the supervision that changes are measured against
CHANGES = ["foundation", "supervision", "llm_parameters", "f1", "low", "high"]
CHANGES += ["change", "change_low", "change_high", "relative", "relative_low", "relative_high"]
CHANGES_CAPTION = (
    "Changes are paired differences to regular supervision of the same LLM. Relative changes are shares of "
    "its F1; there is none where that F1 is below 0.05. In brackets: 95 % interval by bootstrap over "
    "speakers and seeds."
)


def changes(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per foundation and supervision that was scored: F1 with its interval, and the change.

    rows: from `studies.records`. `change` is the paired difference to regular supervision of the same
    foundation. `relative` is that difference divided by the F1 of regular supervision. Both are on the
    seeds that both have, with their intervals. They are NaN without regular supervision; `relative` is
    also NaN if that F1 is close to 0.
    """
    taught = {
        (row["axes"]["llm"], row["axes"]["supervision"]): row["variant"]
        for row in rows
        if {"llm", "supervision"} == row["axes"].keys()
    }
    lines = []
    for (foundation, supervision), variant in taught.items():
        if (f1 := measured.main_metric(rows, variant)) is None:
            continue
        record = next(row["record"] for row in rows if row["variant"] == variant and row["record"])
        line = [foundation, supervision, record["llm_parameters"], f1.value, f1.low, f1.high]
        regular = taught.get((foundation, USUAL))
        for of in (measured.gain, measured.relative_gain):
            found = of(rows, variant, regular) if regular and supervision != USUAL else None
            line += [found.value, found.low, found.high] if found else [float("nan")] * 3
        lines.append(line)
    return pd.DataFrame(lines, columns=CHANGES)


def changes_display(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """Return `changes` for display, with a dash where there is nothing to compare with."""
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


def changes_table(study: Study, rows: Sequence[Result]) -> pd.DataFrame:
    """Return `changes` of these rows for display. rows: from `studies.records`."""
    return changes_display(study, changes(rows))


def types_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals, one group of bars per foundation, one bar per supervision.
    None if nothing was scored.
    """
    frame = changes(rows)
    if frame.empty:
        return None
    own = looks.of_axis(study, "supervision")
    by = {"foundation": list(frame["foundation"].unique()), "supervision": list(own)}
    at = [row["axes"] for row in rows]
    there = {(axes["llm"], axes["supervision"]) for axes in at if axes.keys() == {"llm", "supervision"}}
    return bars.figure_of(frame, by, own, lambda ax: floors.draw(ax, rows), there)


def scale_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals over the LLM's parameters, one line per supervision.

    None if nothing was scored.
    """
    frame = changes(rows)
    if frame.empty:
        return None
    figure, (ax,) = figures.panels(1, "column")
    kinds = looks.of_axis(study, "supervision")
    for i, (supervision, style) in enumerate(kinds.items()):
        drawn = frame[frame["supervision"] == supervision].sort_values("llm_parameters")
        bars = [drawn["f1"] - drawn["low"], drawn["high"] - drawn["f1"]]
        look = {"color": style.colour, "marker": style.marker, "ls": style.dash, "elinewidth": 1}
        ax.errorbar(
            drawn["llm_parameters"] * BESIDE ** (i - (len(kinds) - 1) / 2),
            drawn["f1"],
            bars,
            label=style.label,
            capsize=2,
            **look,
        )
    floors.draw(ax, rows)
    figures.parameters_axis(ax)
    ax.set_xlabel("parameters of the LLM")
    ax.set_ylabel("F1 (partial match)")
    ax.set_ylim(0, None)
    figures.legend(figure)
    return figure
