"""What the studies of 2509.04473 show besides their tables: gains over the bare adapter, and cost.

A variant of the study `sense` is named after its task (`ner`), or after the model of all tasks and its task
(`unified_ner`), then after what is added to the bare adapter (`ner_lora`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import stats
from speechllm_bench.evaluation import score
from speechllm_bench.reports import figures, tables
from speechllm_bench.schema import Interval
from speechllm_bench.tasks import ner, sentiment, transcription

MAIN = {task.name: task.main for module in (transcription, ner, sentiment) for task in module.TASKS}
TASKS = tuple(MAIN)
MODELS = {"": "one a task", "unified_": "one for all tasks"}
SETTINGS = {"": "adapter", "_classifier": "+ classifier", "_lora": "+ LoRA", "_all": "all"}
GAINS = {"": "", "_classifier": "", "_lora": "", "_all": "_lora"}
"""What a setting's gain is over: what it adds to. The paper gives gains over baselines not known to us."""


GAINS_CAPTION = (
    "Gains are relative: the paired difference over the score of the setting in `gain over`, above 0 where "
    "this setting is better. There is no gain over an F1 below 0.05. Trained parameters are of all models "
    "that answer: three of one task, or one of all tasks. In brackets: 95 % interval by bootstrap over "
    "speakers and seeds."
)


def gains(rows: list[dict]) -> pd.DataFrame:
    """One row a model and setting: trained parameters, each task's main metric, and its gain over what the
    setting adds to, of the same task or, for one model for all tasks, of that model; as `GAINS_CAPTION` says.

    rows: of `studies.records`. Text alone, "–" where there is nothing.
    """
    lines = []
    for models, shown in MODELS.items():
        for ending, setting in SETTINGS.items():
            over = GAINS[ending]
            variants = [f"{models}{task}{ending}" for task in TASKS]
            line = {"model": shown, "setting": setting, "gain over": SETTINGS[over] if ending else "–"}
            line["trained parameters"] = _trained(rows, variants)
            for task, variant in zip(TASKS, variants, strict=True):
                interval = tables.main_metric(rows, variant)
                line[MAIN[task].shown] = _shown(interval)
                line[f"{MAIN[task].shown}, gain"] = _shown(
                    tables.relative_gain(rows, variant, f"{models}{task}{over}") if ending else None, "+"
                )
            lines.append(line)
    return pd.DataFrame(lines)


def settings(rows: list[dict], task: str) -> pd.DataFrame:
    """One row a model and setting that was scored: the task's main metric with `low` and `high`."""
    metric = MAIN[task].name
    lines = []
    for models, shown in (MODELS | {"unified_long_": "one for all, as long"}).items():
        for ending, setting in SETTINGS.items():
            if found := tables.main_metric(rows, f"{models}{task}{ending}"):
                lines.append((shown, setting, found.value, found.low, found.high))
    return pd.DataFrame(lines, columns=["model", "setting", metric, "low", "high"])


def settings_figure(rows: list[dict]) -> Figure | None:
    """A panel a task: its main metric with intervals, a group of bars a setting, a bar a model; None where
    nothing was scored.
    """
    frames = {task: frame for task in TASKS if len(frame := settings(rows, task))}
    if not frames:
        return None
    figure, axes = figures.panels(len(frames), "page")
    for (task, frame), ax in zip(frames.items(), axes, strict=True):
        by = {"setting": list(SETTINGS.values()), "model": list(frame["model"].unique())}
        figures.grouped_bars(frame, by, ax, MAIN[task].name)
        ax.tick_params(axis="x", labelrotation=20)
    figures.legend(figure)
    return figure


def positions(rows: list[dict], seconds: np.ndarray) -> pd.DataFrame:
    """One row a variant behind a pooling adapter: its steps of 30 s, and how many positions of the LLM a turn
    takes, their mean over test turns of these `seconds` (n,).
    """
    lines = {}
    for row in rows:
        config = row["run"].config.adapter if row["run"] else None  # none where a backbone is missing
        if config and config.kind == "pooling":
            steps = np.ceil(seconds * config.steps_per_30s / 30)
            lines[row["variant"]] = (row["variant"], config.steps_per_30s, round(float(steps.mean()), 1))
    return pd.DataFrame(lines.values(), columns=["variant", "steps of 30 s", "positions a turn"])


DECODING_CAPTION = (
    "Seconds are what the whole test set took to decode, in the same batches, on one machine that may have "
    "been busy. `times` is how many times as long as greedy decoding by the same weights."
)


def decoding_cost(rows: list[dict]) -> pd.DataFrame:
    """One row a scored run: its main metric, seconds of decoding, and these over those of the same training's
    greedy run, NaN where there is none.

    rows: of `studies.records`.
    """
    scored = [row for row in rows if row["score"]]
    greedy = {}
    for row in scored:
        asked = row["run"].config.evaluation
        if not asked.beams and asked.audio == "own":
            greedy[row["run"].stages, asked.task] = row["record"]["seconds"]["decode"]
    lines = []
    for row in scored:
        asked, seconds = row["run"].config.evaluation, row["record"]["seconds"]["decode"]
        lines.append(
            {
                "variant": row["variant"],
                "seed": row["seed"],
                "beams": asked.beams or 1,
                "main metric": row["score"]["metrics"][score.main_metric(row["score"])]["value"],
                "seconds of decoding": seconds,
                "times": seconds / greedy.get((row["run"].stages, asked.task), float("nan")),
            }
        )
    return pd.DataFrame(lines)


def _trained(rows: list[dict], variants: list[str]) -> str:
    """Of every model that answers for these variants, each training counted once; "–" unless all were run."""
    counted = {}
    for row in rows:
        if row["record"] and row["variant"] in variants:
            counted.setdefault(row["variant"], (row["run"].stages, row["record"]["trained_parameters"]))
    if len(counted) < len(variants):
        return "–"
    return f"{sum(dict(counted.values()).values()):,}"


def _shown(found: Interval | None, sign: str = "") -> str:
    return stats.with_interval(found.value, found.low, found.high, sign) if found else "–"
