"""Effects of an axis: scores of variants that differ in its value alone, side by side, with gains or losses.

Test sets and languages are axes of any study. Variants of 2509.04473 have a value on the axes `task`, `model`
(one per task, or one for all) and `setting` (what is added to the bare adapter).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import stats
from speechllm_bench.evaluation import score, seeds
from speechllm_bench.metrics.slue_score import mean_of_tasks
from speechllm_bench.planning.stored_runs import Scores, scores_of, shared_seeds
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import figures, floors, looks, measured, tables
from speechllm_bench.reports.looks import Looks
from speechllm_bench.settings.experiments import Study
from speechllm_bench.stats import Comparison
from speechllm_bench.tasks import METRICS, ner, sentiment, transcription


def along(rows: Sequence[Result], axis: str, usual: str = "") -> list[tuple[dict, dict[str, str]]]:
    """Return variants that differ only in one axis: their other axes, and value of the axis -> variant.

    usual: the value of variants that are not on the axis.
    """
    found: dict[frozenset, tuple[dict, dict[str, str]]] = {}
    for row in rows:
        others = {name: value for name, value in row["axes"].items() if name != axis}
        _, variants = found.setdefault(frozenset(others.items()), (others, {}))
        variants[row["axes"].get(axis, usual)] = row["variant"]
    return list(found.values())


def bars(
    rows: Sequence[Result],
    frame: pd.DataFrame,
    by: Mapping[str, list[str]],
    looks_: Looks,
    there: Sequence[tuple[str, str]],
    groups: Sequence[tuple[str, str]] = (),
) -> Figure | None:
    """Draw F1 as `figures.grouped_bars` does, with floors as `floors.draw` does. None without a bar."""
    if frame.empty:
        return None
    figure, (ax,) = figures.panels(1, "page")
    figures.grouped_bars(frame, by, ax, looks_, there=there)
    floors.draw(ax, rows, groups)
    figures.legend(figure)
    return figure


ASKED = {
    "A": ("A-test", "in_domain"),
    "B-ID": ("B-test", "in_domain"),
    "B-OOD": ("B-test", "out_of_domain"),
}
"""Split and slot types of each test set."""
SETS = tuple(ASKED)
SHOWN = ("A", "B-ID: other wordings", "B-OOD: unseen slot types")
"""Names of the test sets in the figure, in the order of `SETS`."""
LOSSES_CAPTION = (
    "Lost: the F1 on A less that on B, as a share of the F1 on A, as a mean over seeds. There is none if "
    "the F1 on A is below 0.05. Above floors: whether the system is above the floors of A and of B-OOD. If "
    "it is not, its share lost says little. Speakers whom A and B have in common are drawn together. "
    + tables.INTERVALS
)


def by_system(rows: Sequence[Result]) -> dict[str, dict[str, str]]:
    """Return system -> test set -> variant, for the systems that are evaluated on A and on B-OOD.

    Variants that differ only in the test set are one system; it has the name of its variant on A.
    """
    found = [sets for _, sets in along(rows, "test_set", "A") if {"A", "B-OOD"} <= sets.keys()]
    order = [row["variant"] for row in rows]
    return {sets["A"]: sets for sets in sorted(found, key=lambda sets: order.index(sets["A"]))}


def losses(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per system that was scored on A: F1 on each test set, and the share lost on B.

    2510.15851 reports a loss of 40 to 60 % on unseen slot types for every system. All cells are text.
    `attrs["rests_on"]` maps each system to the variants that its row is made of.
    """
    lines, rests_on = [], {}
    for system, sets in by_system(rows).items():
        variants = {called: sets.get(called, "") for called in SETS}
        f1 = {called: measured.main_metric(rows, variant) for called, variant in variants.items()}
        if f1["A"] is None:
            continue
        line = {"system": system} | {f"F1 on {called}": stats.shown(one) for called, one in f1.items()}
        for called in SETS[1:]:
            line[f"lost on {called}"] = stats.shown(lost(rows, system, variants[called]))
        above = [floors.above(rows, variants[called]) for called in ("A", "B-OOD")]
        line["above floors"] = "no" if False in above else "–" if None in above else "yes"
        lines.append(line)
        rests_on[system] = list(sets.values())
    frame = pd.DataFrame(lines)
    frame.attrs["rests_on"] = rests_on
    return frame


def lost(rows: Sequence[Result], variant: str, elsewhere: str) -> Comparison | None:
    """Return 1 - F1(elsewhere) / F1(variant) of one system on two test sets. None as in `relative_gain`."""
    gained = measured.relative_gain(rows, elsewhere, variant)
    if gained is None:
        return None
    # The interval of a share lost ends at 1, where nothing is left.
    return replace(gained, value=-gained.value, low=-gained.high, high=min(1.0, -gained.low))


def systems_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals of every system, one group of bars per test set."""
    names = dict(zip(SETS, SHOWN, strict=True))
    own = by_system(rows)
    there = {(system, names[s]): sets[s] for system, sets in own.items() for s in SETS if s in sets}
    frame = measured.main_metrics(rows, there, ["system", "set", "f1"])
    of_floors = {floor for row in rows for floor in floors.of(rows, row["variant"])}
    frame = frame[~frame["system"].isin(of_floors)]
    by = {"set": list(SHOWN), "system": list(frame["system"].unique())}
    pairs = [(called, system) for system, called in there]
    return bars(rows, frame, by, looks.of(study), pairs, list(ASKED.values()))


LANGUAGE_NAMES = {"en": "English", "es": "Spanish", "fr": "French"}


def by_language(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per system: its metric, and the value in each language, "" where it has no score.

    The test sets of the languages differ in more than the language, so do not subtract their values.
    """
    lines = []
    for others, said in along(rows, "language"):
        scored = [row["score"] for row in rows if row["score"] and row["variant"] in said.values()]
        line = {"system": ", ".join(others.values())}
        line["metric"] = score.main_metric(scored[0]) if scored else ""
        for language, name in LANGUAGE_NAMES.items():
            found = measured.main_metric(rows, said.get(language, ""))
            line[name] = stats.shown(found) if found else ""
        lines.append(line)
    return pd.DataFrame(lines, columns=["system", "metric", *LANGUAGE_NAMES.values()])


MAIN = {task.name: task.main for module in (transcription, ner, sentiment) for task in module.TASKS}
SENSE_TASKS = tuple(MAIN)
BARE = "bare"
GAINS = {"classifier": BARE, "lora": BARE, "all": "lora"}
"""Setting -> the setting that its gain is measured over. The paper's own baselines are not known to us."""
GAINS_CAPTION = (
    "A gain is the paired difference to the setting in `gain over`, divided by the score of that setting, "
    "as a mean over seeds. It is above 0 if the row's setting is better. There is no gain over an F1 below "
    "0.05. Parameters are summed over the models that answer: three models of one task, or one model of all"
    " tasks. " + tables.INTERVALS
)


def by_setting(rows: Sequence[Result]) -> dict[tuple[str, str], dict[str, str]]:
    """Return (model, setting) -> task -> variant, for pairs that cover all tasks. Controls are left out."""
    return {
        (axes["model"], axes["setting"]): of_tasks
        for axes, of_tasks in along(rows, "task")
        if axes.keys() == {"model", "setting"} and of_tasks.keys() == set(SENSE_TASKS)
    }


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
        for task in SENSE_TASKS:
            gain = measured.relative_gain(rows, asked[task], found[model, over][task]) if over else None
            line[MAIN[task].shown] = stats.shown(measured.main_metric(rows, asked[task]))
            line[f"{MAIN[task].shown}, gain"] = stats.shown(gain, "+")
        lines.append(line)
    frame = pd.DataFrame(lines)
    frame.attrs["keys"] = looks.keys(models, settings)
    frame.attrs["keys"] |= {metric.shown: metric.name for metric in MAIN.values()}
    frame.attrs["keys"] |= {f"{metric.shown}, gain": f"{metric.name}_gain" for metric in MAIN.values()}
    return frame


def settings_table(rows: Sequence[Result], task: str) -> pd.DataFrame:
    """Return one row per model and setting that was scored: the task's main metric with `low` and `high`."""
    variants = {pair: asked[task] for pair, asked in by_setting(rows).items()}
    return measured.main_metrics(rows, variants, ["model", "setting", MAIN[task].name])


def settings_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw each task's main metric with intervals: groups of bars per setting, one bar per model."""
    frames = {task: frame for task in SENSE_TASKS if len(frame := settings_table(rows, task))}
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
    "adapter alone, in points. " + tables.INTERVALS
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
        scores = [scores_of(rows, asked[task]) for task in SENSE_TASKS]
        base = [scores_of(rows, variants[model, BARE][task]) for task in SENSE_TASKS]
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
    frame.attrs["keys"] = looks.keys(models, settings)
    return frame


def _counted(scores: list[Scores], seeds: list[int]) -> tuple[list[stats.SpeakerSums], stats.Statistic]:
    """Return the tasks' counts, one (n_seeds, n_speakers, k) per test set, and the rule for the SLUE score.

    Tasks on the same test set have their counts side by side. The rule takes those of all test sets.
    """
    metrics = [MAIN[task].name for task in SENSE_TASKS]
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
