"""Scores by how the questions were asked: context and distractors, label noise, language, single
questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechllm_bench.evaluation import score
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import figures, floors, looks, measured
from speechllm_bench.settings.experiments import Study
from speechllm_bench.stats import with_interval
from speechllm_bench.tasks import ner

AXES = {"context": "turns of context", "distractors": "distractors"}
ONE = {"context": "1 turn of context", "distractors": "1 distractor"}
COLOURS = ("#0072B2", "#D55E00")
LEVELS = ["variant", *AXES, "wording", "slot_types", "described in training", "f1", "low", "high"]


def by_level(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per variant that was scored on its own audio: how it was asked,
    and F1 with its interval.

    rows: from `studies.records`. `context` and `distractors` are NaN where their numbers
    are drawn as in training.
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
    return pd.DataFrame(lines, columns=LEVELS).astype(dict.fromkeys(AXES, float))


def levels_figure(rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals over turns of context and over distractors. None where no level was scored.

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
            bars = [points["f1"] - points["low"], points["high"] - points["f1"]]
            line = f"{level:.0f} {AXES[held]}" if level != 1 else ONE[held]
            style = {"marker": "o", "ms": 4, "elinewidth": 1, "capsize": 2, "color": colour}
            ax.errorbar(points[varied], points["f1"], bars, label=line, **style)
        _draw_floors(ax, rows, None if varied == "distractors" else set(drawn["distractors"].astype(int)))
        ax.set_xlabel(label)
        ax.set_ylabel("F1 (partial match)")
        ax.set_ylim(0, 1.1 * frame["high"].max() or 1)
        ax.xaxis.get_major_locator().set_params(integer=True)
    figures.legend(figure)
    return figure


def _draw_floors(ax: Axes, rows: Sequence[Result], levels: Iterable[int] | None) -> None:
    """The floors of the questions asked: they depend on the number of distractors and on no context.

    levels: numbers of distractors, each a line right across; None: distractors are the axis.
    """
    scored = floors.scored(rows)
    numbers = sorted(n for n in {asked.distractors for asked in scored} if n is not None)
    found = {n: scored.get(floors.Questions("A-test", distractors=n), {}) for n in numbers}
    for answerer, (label, dash) in floors.LINES.items():
        known = {level: some[answerer].value for level, some in found.items() if answerer in some}
        if levels is None and known:
            ax.plot(list(known), list(known.values()), color="0.35", lw=0.9, ls=dash, label=label)
        for level in levels if levels is not None else ():
            if level in known:
                floors.line(ax, known[level], label, dash)


BESIDE = 0.8
"""Per cent of noise between points of one noise, which stand side by side."""
NOISES = ["variant", "labels", "noise", "ner_f1", "low", "high"]


def by_noise(rows: Sequence[Result]) -> pd.DataFrame:
    """Return F1 of the variants that were scored on their own audio and had gold labels
    of all turns or of none.

    rows: from `studies.records`. `labels` is unfiltered or filtered if training on gold labels follows, and
    alone if not. Labels without noise are gold labels. A variant that trains on gold twice has a row under
    both filters, since there is nothing to filter. One that trains on gold once is under alone.
    """
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == variant and row["score"]]
        if not mine:
            continue
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
    """Draw F1 with intervals over noise, one line per kind of labels. None where none was scored."""
    frame = by_noise(rows)
    if frame.empty:
        return None
    figure, (ax,) = figures.panels(1)
    kinds = looks.of_axis(study, "labels", frame["labels"])
    groups = frame.groupby("labels")
    for i, (labels, points) in enumerate(groups):
        style = kinds[labels]
        bars = [points["ner_f1"] - points["low"], points["high"] - points["ner_f1"]]
        line = {"color": style.colour, "marker": style.marker, "ls": style.dash, "ms": 4}
        line |= {"label": style.label, "elinewidth": 1, "capsize": 2}
        ax.errorbar(
            100 * points["noise"] + BESIDE * (i - (len(groups) - 1) / 2), points["ner_f1"], bars, **line
        )
    ax.set_xlabel("noise of the labels (%)")
    ax.set_ylabel(figures.METRIC_LABELS["ner_f1"])
    ax.set_ylim(0, 1.1 * frame["high"].max() or 1)
    figures.legend(figure)
    return figure


NAMES = {"en": "English", "es": "Spanish", "fr": "French"}


def by_language(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per system: its metric, and the value in each language, "" where it has no score.

    rows: from `studies.records`. The test sets of the languages differ in more than the language, so do
    not subtract their values.
    """
    systems: dict[str, list[Result]] = {}
    for row in rows:
        system = ", ".join(key for axis, key in row["axes"].items() if axis != "language")
        systems.setdefault(system, []).append(row)
    lines = []
    for system, own in systems.items():
        mine = [row["score"] for row in own if row["score"]]
        line = {"system": system, "metric": score.main_metric(mine[0]) if mine else ""}
        said = {row["axes"].get("language"): row["variant"] for row in own}
        for language, name in NAMES.items():
            found = measured.main_metric(own, said[language]) if language in said else None
            line[name] = with_interval(found.value, found.low, found.high) if found else ""
        lines.append(line)
    return pd.DataFrame(lines, columns=["system", "metric", *NAMES.values()])


def by_question(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per variant with single questions: accuracy with its interval, and accuracy by question.

    rows: from `studies.records`. A last row per task, `commonest answer`, is the accuracy of always
    giving the most frequent gold answer to a question. Shares are over all seeds. Empty where no
    such question was asked.
    """
    lines, guesses = [], {}
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == variant and "answers" in (row["score"] or ())]
        if not mine:
            continue
        found, task = [row["score"] for row in mine], mine[0]["run"].config.evaluation.task
        accuracy = score.interval(found, "accuracy")
        lines.append(
            {"variant": variant, "task": task, "accuracy": accuracy.value, "low": accuracy.low}
            | {"high": accuracy.high, **_shares(found, "right")}
        )
        guesses[task] = {"variant": "commonest answer", "task": task, **_shares(found, "commonest")}
    return pd.DataFrame([*lines, *guesses.values()])


def _shares(scores: list[dict], what: str) -> dict[str, float]:
    """Return question -> share of all its answers."""
    kinds = {asks: [s["answers"][asks] for s in scores] for asks in scores[0]["answers"]}
    return {asks: sum(k[what] for k in some) / sum(k["n"] for k in some) for asks, some in kinds.items()}
