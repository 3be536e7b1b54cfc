"""What the studies of 2509.04473 show besides their tables: gains over the bare adapter, and cost.

A variant of the study `sense` is named after its task (`ner`), or after the model of all tasks and its task
(`unified_ner`), then after what is added to the bare adapter (`ner_lora`).
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import stats
from speechllm_bench.evaluation import score
from speechllm_bench.reports import figures, tables
from speechllm_bench.schema import Interval

TASKS = ("transcription", "ner", "sentiment")
HEADINGS = {"transcription": "WER", "ner": "NER F1", "sentiment": "sentiment, macro F1"}
MODELS = {"": "one a task", "unified_": "one for all tasks"}
SETTINGS = {"": "adapter", "_classifier": "+ classifier", "_lora": "+ LoRA", "_all": "all"}
GAINS = {"": "", "_classifier": "", "_lora": "", "_all": "_lora"}
"""What a setting's gain is over: what it adds to. The paper gives gains over baselines not known to us."""


def gains(rows: list[dict]) -> pd.DataFrame:
    """One row a model and setting: trained parameters, each task's main metric with its gain.

    rows: of `studies.records`. A gain is relative to the setting named in `gain over`, of the same task or,
    for one model for all tasks, of that model, and above 0 where the setting is better. There is none over
    an F1 below the least difference that the suite calls one: hundreds of per cent of nothing.
    """
    lines = []
    for models, shown in MODELS.items():
        for ending, setting in SETTINGS.items():
            over = GAINS[ending]
            line = {"model": shown, "setting": setting, "gain over": SETTINGS[over] if ending else "–"}
            line["trained parameters"] = _trained(rows, [f"{models}{task}{ending}" for task in TASKS])
            for task in TASKS:
                interval = tables.main_metric(rows, f"{models}{task}{ending}")
                base = tables.main_metric(rows, f"{models}{task}{over}") if ending else None
                line[HEADINGS[task]] = interval.value if interval else float("nan")
                line[f"{HEADINGS[task]}, gain"] = _relative(
                    interval, base, lower_is_better=task == "transcription"
                )
            lines.append(line)
    columns = ["model", "setting", "gain over", "trained parameters"]
    columns += [name for task in TASKS for name in (HEADINGS[task], f"{HEADINGS[task]}, gain")]
    return pd.DataFrame(lines, columns=columns).astype({"trained parameters": "Int64"})


def settings(rows: list[dict], task: str) -> pd.DataFrame:
    """One row a model and setting that was scored: the task's main metric with `low` and `high`."""
    metric = score.MAIN[task]
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
        figures.grouped_bars(frame, by, ax, score.MAIN[task])
        ax.tick_params(axis="x", labelrotation=20)
    figures.legend(figure)
    return figure


def decoding_cost(rows: list[dict]) -> pd.DataFrame:
    """One row a run: its main metric, and seconds of decoding on the machine as busy as it was."""
    lines = [
        {
            "variant": row["variant"],
            "seed": row["seed"],
            "beams": row["run"].config.evaluation.beams or 1,
            "main metric": row["score"]["metrics"][score.main_metric(row["score"])]["value"],
            "seconds of decoding": row["record"]["seconds"]["decode"],
        }
        for row in rows
        if row["score"]
    ]
    return pd.DataFrame(lines)


def _trained(rows: list[dict], variants: list[str]) -> int | None:
    counted = [r["record"]["trained_parameters"] for r in rows if r["record"] and r["variant"] in variants]
    return counted[0] if counted else None


def _relative(found: Interval | None, base: Interval | None, lower_is_better: bool) -> float:
    """The difference over the baseline, above 0 where `found` is better; NaN without either, or over one that
    is next to nothing.
    """
    if not found or not base or base.value < stats.LEAST_DIFFERENCE:
        return float("nan")
    better, worse = (base, found) if lower_is_better else (found, base)
    return (better.value - worse.value) / base.value
