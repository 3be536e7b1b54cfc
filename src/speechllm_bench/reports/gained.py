"""What a setting gains over the one that it adds to: settings beside an adapter, and supervisions of LLMs.

Variants of 2509.04473 have a value on the axes `task`, `model` (one per task, or one for all) and `setting`
(what is added to the bare adapter). Those of 2510.19326 have one on the axes `llm` and `supervision`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import stats
from speechllm_bench.evaluation import score, seeds
from speechllm_bench.metrics.slue_score import mean_of_tasks
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import figures, floors, looks, measured
from speechllm_bench.reports.looks import Looks
from speechllm_bench.reports.stored_runs import Scores, scores_of, shared_seeds
from speechllm_bench.settings.experiments import Study
from speechllm_bench.tasks import METRICS, ner, sentiment, transcription

MAIN = {task.name: task.main for module in (transcription, ner, sentiment) for task in module.TASKS}
TASKS = tuple(MAIN)
BARE = "bare"
GAINS = {"classifier": BARE, "lora": BARE, "all": "lora"}
"""Setting -> the setting that its gain is measured over. The paper's own baselines are not known to us."""
GAINS_CAPTION = (
    "A gain is the paired difference to the setting in `gain over`, divided by the score of that setting. "
    "It is above 0 if the row's setting is better. There is no gain over an F1 below 0.05. Parameters are "
    "summed over the models that answer: three models of one task, or one model of all tasks. In brackets: "
    "95 % interval by bootstrap over speakers and seeds."
)


def by_setting(rows: Sequence[Result]) -> dict[tuple[str, str], dict[str, str]]:
    """Return (model, setting) -> task -> variant, for pairs that cover all tasks. Controls are left out."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for axes, variant in ((row["axes"], row["variant"]) for row in rows):
        if {"task", "model", "setting"} == axes.keys():
            found.setdefault((axes["model"], axes["setting"]), {})[axes["task"]] = variant
    return {pair: some for pair, some in found.items() if some.keys() == set(TASKS)}


def compared(rows: Sequence[Result]) -> dict[tuple[str, str], dict[str, str]]:
    """Return `by_setting` for the models that have a bare adapter, which is compared with."""
    found = by_setting(rows)
    return {pair: some for pair, some in found.items() if (pair[0], BARE) in found}


def gains(study: Study, rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per model and setting: trained parameters, and each task's main metric with its gain.

    The gain is over the same model and task in the setting that this one adds to. All cells are text.
    """
    models, settings = (looks.of_axis(study, axis) for axis in ("model", "setting"))
    lines, found = [], compared(rows)
    for (model, setting), asked in found.items():
        over = GAINS.get(setting)
        line = {"model": models[model].label, "setting": settings[setting].label}
        line["gain over"] = settings[over].label if over else "–"
        line["trained parameters"] = _trained(rows, list(asked.values()))
        for task in TASKS:
            gain = measured.relative_gain(rows, asked[task], found[model, over][task]) if over else None
            line[MAIN[task].shown] = stats.shown(measured.main_metric(rows, asked[task]))
            line[f"{MAIN[task].shown}, gain"] = stats.shown(gain, "+")
        lines.append(line)
    frame = pd.DataFrame(lines)
    frame.attrs["keys"] = _keys(models, settings) | {metric.shown: metric.name for metric in MAIN.values()}
    frame.attrs["keys"] |= {f"{metric.shown}, gain": f"{metric.name}_gain" for metric in MAIN.values()}
    return frame


def _keys(*axes: Looks) -> dict[str, str]:
    """Return label -> key of the axes' values, for ids (`cells.of_further`)."""
    return {look.label: key for looks_ in axes for key, look in looks_.items()}


def settings_table(rows: Sequence[Result], task: str) -> pd.DataFrame:
    """Return one row per model and setting that was scored: the task's main metric with `low` and `high`."""
    lines = [
        (model, setting, found.value, found.low, found.high)
        for (model, setting), asked in by_setting(rows).items()
        if (found := measured.main_metric(rows, asked[task]))
    ]
    return pd.DataFrame(lines, columns=["model", "setting", MAIN[task].name, "low", "high"])


def settings_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw each task's main metric with intervals: groups of bars per setting, one bar per model."""
    frames = {task: frame for task in TASKS if len(frame := settings_table(rows, task))}
    if not frames:
        return None
    figure, axes = figures.panels(len(frames), "page")
    models, settings_ = (looks.of_axis(study, axis) for axis in ("model", "setting"))
    for (task, frame), ax in zip(frames.items(), axes, strict=True):
        frame = frame.assign(setting=frame["setting"].map(lambda key: settings_[key].label))
        by = {"setting": [look.label for look in settings_.values()], "model": list(frame["model"].unique())}
        there = [(settings_[setting].label, model) for model, setting in by_setting(rows)]
        figures.grouped_bars(frame, by, ax, models, MAIN[task].name, there)
        ax.tick_params(axis="x", labelrotation=20)
    figures.legend(figure)
    return figure


def _trained(rows: Sequence[Result], variants: list[str]) -> str:
    """Return the trained parameters of all these models, each training counted once. "–" unless all ran."""
    counted: dict[str, tuple] = {}
    for row in rows:
        if row["record"] and row["variant"] in variants:
            counted.setdefault(row["variant"], (row["run"].stages, row["record"]["trained_parameters"]))
    return f"{sum(dict(counted.values()).values()):,}" if len(counted) == len(variants) else "–"


SLUE_CAPTION = (
    "SLUE score, in per cent: ((100 − WER) + NER F1 + sentiment macro F1) / 3 (arXiv 2507.12951, the README "
    "of its repository). WER is that of the study's transcription. Gains are paired differences to the "
    "adapter alone, in points. In brackets: 95 % interval by bootstrap over speakers and seeds."
)


def slue_scores(study: Study, rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per model and setting that is scored on all three tasks: the SLUE score, and its gain.

    The gain is over the bare adapter, in points. Tasks on one test set share the draws of speakers. Tasks
    with their own test sets, as at `paper`, have separate draws.
    """
    models, settings = (looks.of_axis(study, axis) for axis in ("model", "setting"))
    lines, variants = [], compared(rows)
    # Between seeds, in squared points, for three independent trainings.
    between = (100 / 3) ** 2 * sum(seeds.pooled(metric.name) or 0.0 for metric in MAIN.values())
    for (model, setting), asked in variants.items():
        scores = [scores_of(rows, asked[task]) for task in TASKS]
        base = [scores_of(rows, variants[model, BARE][task]) for task in TASKS]
        if not (own := shared_seeds(scores)):
            continue
        line = {"model": models[model].label, "setting": settings[setting].label, "seeds": len(own)}
        counted, rule = _counted(scores, own)
        found = stats.contrast_of_test_sets([counted], [1], rule, score.rng(), between)
        found = stats.within(found, -np.inf, 100)
        line |= {"SLUE score": stats.shown(found), "gain": "–"}
        if setting != BARE and (both := shared_seeds([*scores, *base])):
            pair = [_counted(system, both)[0] for system in (scores, base)]
            found = stats.contrast_of_test_sets(pair, [1, -1], rule, score.rng(), 2 * between)
            line["gain"] = stats.shown(found, "+")
        lines.append(line)
    frame = pd.DataFrame(lines)
    frame.attrs["keys"] = _keys(models, settings)
    return frame


def _counted(scores: list[Scores], seeds: list[int]) -> tuple[list[stats.SpeakerSums], stats.Statistic]:
    """Return the tasks' counts, one (n_seeds, n_speakers, k) per test set, and the rule for the SLUE score.

    Tasks on the same test set have their counts side by side. The rule takes those of all test sets.
    """
    metrics = [MAIN[task].name for task in TASKS]
    test_sets: dict[tuple, list[tuple[str, stats.SpeakerSums]]] = {}
    for one, metric in zip(scores, metrics, strict=True):
        part = stats.stack_seeds([score.speaker_sums(one[seed], metric) for seed in seeds])
        test_sets.setdefault((part.n, part.speakers), []).append((metric, part))
    order = [metric for parts in test_sets.values() for metric, _ in parts]
    widths = [part.sums.shape[-1] for parts in test_sets.values() for _, part in parts]
    ends = np.cumsum(widths)[:-1]

    def rule(sums: np.ndarray) -> np.ndarray:
        split = zip(order, np.split(sums, ends, axis=-1), strict=True)
        found = {metric: METRICS[metric].rule(part) for metric, part in split}
        wer, ner_f1, macro_f1 = (found[metric] for metric in metrics)
        return mean_of_tasks([wer], ner_f1, macro_f1)

    return [stats.side_by_side([part for _, part in parts]) for parts in test_sets.values()], rule


BESIDE = 1.06  # factor on the x position of each further variant of the same LLM
USUAL = "regular"  # the supervision that changes are measured against
CHANGES = ["foundation", "supervision", "llm_parameters", "f1", "low", "high"]
CHANGES += ["change", "change_low", "change_high", "relative", "relative_low", "relative_high"]
CHANGES_CAPTION = (
    "Changes are paired differences to regular supervision of the same LLM. Relative changes are shares of "
    "its F1. There are none if that F1 is below 0.05. In brackets: 95 % interval by bootstrap over speakers "
    "and seeds."
)


def changes(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per foundation and supervision that was scored: F1 with its interval, and the change.

    `change` is the paired difference to regular supervision of the same foundation. `relative` is that
    difference divided by the F1 of regular supervision. They are NaN without regular supervision; `relative`
    is also NaN if that F1 is close to 0.
    """
    taught, lines = _taught(rows), []
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


def _taught(rows: Sequence[Result]) -> dict[tuple[str, str], str]:
    """Return (foundation, supervision) -> variant."""
    at = {row["variant"]: row["axes"] for row in rows if row["axes"].keys() == {"llm", "supervision"}}
    return {(axes["llm"], axes["supervision"]): variant for variant, axes in at.items()}


def changes_table(study: Study, rows: Sequence[Result]) -> pd.DataFrame:
    """Return `changes` for display, with a dash where there is nothing to compare with."""
    supervisions = looks.of_axis(study, "supervision")

    def change(row: Mapping, name: str) -> str:
        around = (row[name], row[f"{name}_low"], row[f"{name}_high"])
        return "–" if pd.isna(row[name]) else stats.with_interval(*around, "+")

    lines = [
        {
            "Foundation": row["foundation"].replace("_", " "),
            "Supervision": supervisions[row["supervision"]].label,
            "F1": stats.with_interval(row["f1"], row["low"], row["high"]),
            "Change": change(row, "change"),
            "Relative": change(row, "relative"),
        }
        for row in changes(rows).to_dict("records")
    ]
    frame = pd.DataFrame(lines, columns=["Foundation", "Supervision", "F1", "Change", "Relative"])
    frame.attrs["keys"] = _keys(supervisions)
    return frame


def types_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals, one group of bars per foundation, one bar per supervision."""
    frame = changes(rows)
    if frame.empty:
        return None
    own = looks.of_axis(study, "supervision")
    by = {"foundation": list(frame["foundation"].unique()), "supervision": list(own)}
    figure, (ax,) = figures.panels(1, "page")
    figures.grouped_bars(frame, by, ax, own, there=_taught(rows).keys())
    floors.draw(ax, rows)
    figures.legend(figure)
    return figure


def scale_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals over the LLM's parameters, one line per supervision."""
    frame = changes(rows)
    if frame.empty:
        return None
    figure, (ax,) = figures.panels(1, "column")
    kinds = looks.of_axis(study, "supervision")
    for i, (supervision, style) in enumerate(kinds.items()):
        drawn = frame[frame["supervision"] == supervision].sort_values("llm_parameters")
        places = drawn["llm_parameters"] * BESIDE ** (i - (len(kinds) - 1) / 2)
        figures.with_intervals(ax, places, drawn, **style.line, elinewidth=1)
    floors.draw(ax, rows)
    figures.parameters_axis(ax)
    ax.set_xlabel("parameters of the LLM\n(points of one LLM stand side by side)")
    ax.set_ylabel("F1 (partial match)")
    ax.set_ylim(0, None)
    figures.legend(figure)
    return figure
