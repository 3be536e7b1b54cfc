"""Scores over a number: parameters of the model, turns of context, distractors, noise of the labels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import geometric_mean

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import TICKUP
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from speechllm_bench.evaluation import score
from speechllm_bench.planning.stored_runs import scored_variants
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import figures, floors, looks, tables
from speechllm_bench.reports.looks import Looks
from speechllm_bench.settings.evaluation_config import Questions, questions_of
from speechllm_bench.settings.experiments import Study
from speechllm_bench.tasks import MAIN_METRICS, ner

SIZE = "size"
BESIDE = 0.03  # share of the axis between points of one size


def parameters_figure(study: Study, frame: pd.DataFrame) -> Figure | None:
    """Draw each task's main metric with intervals over trained parameters (`that_learn`).

    None also where most variants have the same size, and where there are too many points to tell apart.
    """
    if len(that_learn(frame)) > figures.MOST_LINES:
        return None
    asked = {name: questions_of(study.variant(name).evaluation) for name in study.variants}
    of_questions = [asked[name] for name in frame["variant"]]
    parts = {
        (metric, questions): part
        for metric in MAIN_METRICS
        for questions in dict.fromkeys(of_questions)
        if metric in frame and sizes_tell(part := frame[[q == questions for q in of_questions]], metric)
    }
    if not parts:
        return None
    answerers = {name: study.variant(name).evaluation.answerer for name in study.variants}
    times = Counter(metric for metric, _ in parts)
    figure, axes = figures.panels(len(parts), "column" if len(parts) == 1 else "page")
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
    Variants of about one size are drawn side by side, and marks on the axis show their sizes.
    """
    shown = that_learn(frame)
    shown = shown[shown[metric].notna()]  # other variants have another task, or no score
    places = side_by_side(list(shown[SIZE]))
    for place, row in zip(places, shown.to_dict("records"), strict=True):
        ends = row[metric], row[f"{metric}_low"], row[f"{metric}_high"]
        paper = f" (paper: {row['reported']:.3g})" if pd.notna(row["reported"]) else ""
        figures.point(ax, place, ends, looks[row["variant"]], paper)
    ax.set_ylim(0, None)
    ax.set_ylabel(figures.METRIC_LABELS[metric])
    parameters_axis(ax)
    said = ["trained parameters"]
    if tables.AFTER_READING in frame:
        said = ["parameters trained after", "the LLM has learned to read"]
    if places != list(shown[SIZE]):
        said += ["(points of about one size are side", "by side; ticks inside: their sizes)"]
        mark = {"marker": TICKUP, "ls": "", "ms": 3, "color": "0.2", "clip_on": False, "zorder": 5}
        ax.plot(shown[SIZE], [0] * len(shown), transform=ax.get_xaxis_transform(), **mark)
    ax.set_xlabel("\n".join(said))
    return ax


def step_aside(found: Iterable[float]) -> float:
    """Return the factor between points of one size that stand side by side on a log axis of these sizes."""
    known = list(found)
    return max(2.0, max(known, default=1) / min(known, default=1)) ** BESIDE


def side_by_side(found: Sequence[float]) -> list[float]:
    """Return places on a log axis. Sizes closer than a step stand side by side, in their order."""
    step, order = step_aside(found), sorted(range(len(found)), key=lambda i: found[i])
    clusters: list[list[int]] = []
    for i in order:
        if clusters and found[i] < found[clusters[-1][-1]] * step:
            clusters[-1].append(i)
        else:
            clusters.append([i])
    places = [0.0] * len(found)
    for own in clusters:
        centre = geometric_mean(float(found[i]) for i in own)
        for beside, i in enumerate(own):
            places[i] = centre * step ** (beside - (len(own) - 1) / 2) if len(own) > 1 else found[i]
    return places


@mpl.rc_context(figures.STYLE)
def parameters_axis(ax: Axes) -> None:
    """Format the x axis for the number of trained parameters, on a log scale."""
    ax.set_xscale("log")
    ax.margins(x=0.12)
    low, high = ax.get_xlim()
    narrow = low > 0 and high < 5 * low  # too few ticks would be powers of ten, their double or their half
    ax.xaxis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(figures.count))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("trained parameters")


def sizes_tell(frame: pd.DataFrame, metric: str) -> bool:
    """Return whether sizes spread the points: at most about half of the variants that hear share one size."""
    learned = that_learn(frame)
    hear = learned[learned["floor"].isna()] if "floor" in learned else learned
    sizes = hear.loc[hear[metric].notna(), SIZE].value_counts()
    return len(sizes) > 1 and sizes.iloc[0] <= (sizes.sum() + 1) // 2


def that_learn(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the variants of a `measured.study_table` that were run and train something.

    Their `SIZE` is the number of parameters that they train. Where an LLM has read before, those of its
    reading are left out, since all variants share it.
    """
    size = frame["trained_parameters"]
    if tables.AFTER_READING in frame:
        size = frame[tables.AFTER_READING].fillna(size)
    return frame.assign(**{SIZE: size})[size.fillna(0) > 0]


FEW = {False: "many turns", True: "few turns"}  # that the adapter was trained on
FAMILIES = ["variant", "kind", "few", "parameters", "f1", "low", "high", "gap"]


def families(rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """Return one row per variant with an adapter that was scored on the turns' own audio.

    The interval is that of the study's table. The gap is validation loss minus training loss at the end, in
    nats per target token; it measures overfitting. Of variants that share a training, only the first has one.
    """
    lines = []
    for variant, mine in scored_variants(rows).items():
        config = mine[0]["run"].config
        if config.adapter is None or config.evaluation.audio == "other":
            continue
        few, f1 = config.stages[-1].train_share is not None, score.interval([r["score"] for r in mine], "f1")
        losses = curve[(curve["variant"] == variant) & (curve["metric"] == "loss")]
        last = losses.groupby(["split", "seed"])["value"].last().groupby("split").mean()
        gap = last.get("validation", math.nan) - last.get("train", math.nan)
        own = (variant, config.adapter.kind, few, mine[0]["record"]["adapter_parameters"])
        lines.append((*own, f1.value, f1.low, f1.high, gap))
    return pd.DataFrame(lines, columns=FAMILIES).sort_values(["kind", "few", "parameters"])


def families_figure(study: Study, rows: Sequence[Result], curve: pd.DataFrame) -> Figure | None:
    """Draw F1 with intervals, and the gap, over the adapter's parameters.

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
        drawn = style.line | {"lw": 0.7 if few else 1.3} | ({"mfc": "none"} if few else {})
        of_f1, of_gap = axes[2 * shares.index(few) :][:2]
        of_f1.plot(points["parameters"], points["f1"], **drawn)
        figures.with_intervals(of_f1, points["parameters"], points, color=style.colour, ls="", lw=1)
        of_gap.plot(points["parameters"], points["gap"], **drawn)
    for i, ax in enumerate(axes):
        ax.set_title(FEW[shares[i // 2]], loc="left", color="0.35", size=8)
        ax.set_ylabel("validation loss − training loss" if i % 2 else "F1 (partial match)")
        parameters_axis(ax)
    for ax in axes[::2]:
        floors.draw(ax, rows)
        ax.set_ylim(0, None)
    for ax in axes[1::2]:
        ax.margins(y=0.1)
        ax.update_datalim([(frame["parameters"].min(), frame["gap"].agg(end)) for end in ("min", "max")])
    for column in (axes[::2], axes[1::2]):
        figures.same_limits(column)
    figures.legend(figure)
    return figure


AXES = {"context": "turns of context", "distractors": "distractors"}
ONE = {"context": "1 turn of context", "distractors": "1 distractor"}
COLOURS = ("#0072B2", "#D55E00")
LEVELS = ["variant", *AXES, "wording", "slot_types", "described in training", "f1", "low", "high"]


def by_level(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per variant that was scored on its own audio: how it was asked, and F1.

    `context` and `distractors` are NaN where their numbers are drawn as in training.
    """
    lines = []
    for variant, mine in scored_variants(rows).items():
        config = mine[0]["run"].config
        asked = config.evaluation
        if asked.audio == "other" or asked.answerer != "model":
            continue
        f1 = score.interval([row["score"] for row in mine], "f1")
        taught = next((s.described for s in config.stages if s.described), 0.0)
        put = (asked.context, asked.distractors, asked.wording or "named", asked.slot_types)
        lines.append((variant, *put, taught, f1.value, f1.low, f1.high))
    return pd.DataFrame(lines, columns=LEVELS).astype(dict.fromkeys(AXES, float))


def levels_figure(rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals over turns of context and over distractors.

    Along a line one of the two numbers varies and the other is fixed.
    """
    frame = by_level(rows).dropna(subset=list(AXES))
    if frame.empty:
        return None
    figure, axes = figures.panels(len(AXES), "page")
    for ax, (varied, label), held, colour in zip(axes, AXES.items(), reversed(AXES), COLOURS, strict=True):
        sizes = frame.groupby(held)[varied].transform("size")
        drawn = frame[sizes == sizes.max()]
        for level, points in drawn.sort_values(varied).groupby(held):
            line = f"{level:.0f} {AXES[held]}" if level != 1 else ONE[held]
            style = {"marker": "o", "ms": 4, "elinewidth": 1, "color": colour}
            figures.with_intervals(ax, points[varied], points, label=line, **style)
        _draw_floors(ax, rows, None if varied == "distractors" else set(drawn["distractors"].astype(int)))
        ax.set_xlabel(label)
        ax.set_ylabel("F1 (partial match)")
        ax.set_ylim(0, 1.1 * frame["high"].max() or 1)
        ax.xaxis.get_major_locator().set_params(integer=True)
    figures.legend(figure)
    return figure


def _draw_floors(ax: Axes, rows: Sequence[Result], levels: Iterable[int] | None) -> None:
    """Draw the floors, which depend on the number of distractors and on no context.

    levels: numbers of distractors, each a line right across; None: distractors are the axis.
    """
    scored = floors.scored(rows)
    numbers = sorted(n for n in {asked.distractors for asked in scored} if n is not None)
    found = {n: scored.get(Questions("A-test", distractors=n), {}) for n in numbers}
    for answerer, (label, dash) in floors.LINES.items():
        known = {level: some[answerer].value for level, some in found.items() if answerer in some}
        if levels is None and known:
            ax.plot(list(known), list(known.values()), color="0.35", lw=0.9, ls=dash, label=label)
        for level in levels if levels is not None else ():
            if level in known:
                floors.line(ax, known[level], label, dash)


NOISE_BESIDE = 0.8
"""Per cent of noise between points of one noise, which stand side by side."""
NOISES = ["variant", "labels", "noise", "ner_f1", "low", "high"]


def by_noise(rows: Sequence[Result]) -> pd.DataFrame:
    """Return F1 of the variants that were scored on their own audio and had gold labels of all turns or none.

    `labels` is unfiltered or filtered if training on gold labels follows, and alone if not. Labels without
    noise are gold labels. A variant that trains on gold twice has a row under both filters, since there is
    nothing to filter. One that trains on gold once is under alone.
    """
    lines = []
    for variant, mine in scored_variants(rows).items():
        config = mine[0]["run"].config
        if config.evaluation.audio == "other" or config.stages[-1].train_share:
            continue
        annotation = next((s.annotation for s in config.stages if s.annotation), None)
        if annotation and annotation.noise is None:
            continue
        f1 = score.interval([row["score"] for row in mine], "ner_f1")
        noise = annotation.noise if annotation else 0.0
        if config.stages[-1].annotation or sum(ner.NAME in stage.tasks for stage in config.stages) == 1:
            labels = ["alone"]
        elif not annotation:
            labels = ["unfiltered", "filtered"]
        else:
            labels = ["filtered" if annotation.filtered else "unfiltered"]
        lines += [(variant, name, noise, f1.value, f1.low, f1.high) for name in labels]
    return pd.DataFrame(lines, columns=NOISES).sort_values(["labels", "noise"])


def noise_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals over noise, one line per kind of labels. None without a run on noisy labels."""
    frame = by_noise(rows)
    if not frame["noise"].any():  # without noise there is nothing to see
        return None
    figure, (ax,) = figures.panels(1)
    kinds = looks.of_axis(study, "labels", frame["labels"])
    groups = frame.groupby("labels")
    for i, (labels, points) in enumerate(groups):
        places = 100 * points["noise"] + NOISE_BESIDE * (i - (len(groups) - 1) / 2)
        figures.with_intervals(ax, places, points, "ner_f1", **kinds[labels].line, ms=4, elinewidth=1)
    ax.set_xlabel("noise of the labels (%)")
    ax.set_ylabel(figures.METRIC_LABELS["ner_f1"])
    ax.set_ylim(0, 1.1 * frame["high"].max() or 1)
    figures.legend(figure)
    return figure
