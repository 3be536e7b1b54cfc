"""What the studies of 2509.04473 show besides their tables: gains over the bare adapter, and cost.

A variant of the study `sense` is named after its task (`ner`), or after the model of all tasks and its task
(`unified_ner`), then after what is added to the bare adapter (`ner_lora`).
"""

from __future__ import annotations

import pandas as pd

from speechllm_bench.evaluation import score
from speechllm_bench.reports import tables
from speechllm_bench.schema import Interval

TASKS = ("transcription", "ner", "sentiment")
HEADINGS = {"transcription": "WER", "ner": "NER F1", "sentiment": "sentiment, macro F1"}
MODELS = {"": "one a task", "unified_": "one for all tasks"}
SETTINGS = {"": "adapter", "_classifier": "+ classifier", "_lora": "+ LoRA", "_all": "all"}


def gains(rows: list[dict]) -> pd.DataFrame:
    """One row a model and setting: trained parameters, each task's main metric with its gain.

    rows: of `studies.records`. A gain is relative to the bare adapter of the same task or, for one model for
    all tasks, of that model, and above 0 where the setting is better.
    """
    lines = []
    for models, shown in MODELS.items():
        for ending, setting in SETTINGS.items():
            line = {"model": shown, "setting": setting}
            found = {task: tables.main_metric(rows, f"{models}{task}{ending}") for task in TASKS}
            line["trained parameters"] = _trained(rows, [f"{models}{task}{ending}" for task in TASKS])
            for task, interval in found.items():
                base = tables.main_metric(rows, f"{models}{task}")
                line[HEADINGS[task]] = interval.value if interval else float("nan")
                line[f"{HEADINGS[task]}, gain"] = _relative(
                    interval, base, lower_is_better=task == "transcription"
                )
            lines.append(line)
    columns = ["model", "setting", "trained parameters"]
    columns += [name for task in TASKS for name in (HEADINGS[task], f"{HEADINGS[task]}, gain")]
    return pd.DataFrame(lines, columns=columns).astype({"trained parameters": "Int64"})


def decoding_cost(rows: list[dict]) -> pd.DataFrame:
    """One row a run: its main metric, seconds of decoding, and the memory of the whole process."""
    lines = [
        {
            "variant": row["variant"],
            "seed": row["seed"],
            "beams": row["run"].config.evaluation.beams or 1,
            "main metric": row["score"]["metrics"][score.main_metric(row["score"])]["value"],
            "seconds of decoding": row["record"]["seconds"]["decode"],
            "peak memory, MiB": row["record"]["peak_memory_mib"],
        }
        for row in rows
        if row["score"]
    ]
    return pd.DataFrame(lines)


def _trained(rows: list[dict], variants: list[str]) -> int | None:
    counted = [r["record"]["trained_parameters"] for r in rows if r["record"] and r["variant"] in variants]
    return counted[0] if counted else None


def _relative(found: Interval | None, base: Interval | None, lower_is_better: bool) -> float:
    """The difference over the baseline, above 0 where `found` is better; NaN without either or over 0."""
    if not found or not base or not base.value:
        return float("nan")
    better, worse = (base, found) if lower_is_better else (found, base)
    return (better.value - worse.value) / base.value
