"""The columns of a study's table: those of its tasks' metrics, and those that every table has."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from speechllm_bench.errors import UserError
from speechllm_bench.tasks import METRICS, TASKS, Metric
from speechllm_bench.tasks.metric import PER_CENT

FLOORS = ("floor", "above_floors")
"""What a row is the floor of, and whether a row is above its floors; where a table has floors."""
EXCLUDED = "excluded"
"""Recordings of a row's corpus that were left out since they cannot be read; where a table has any."""
_BEFORE = [metric for metric in METRICS.values() if metric.column in ("with interval", "plain")]
_BEHIND = sorted((m for m in METRICS.values() if m.column == "later"), key=lambda metric: metric.always)
HEADINGS = {
    "variant": "Variant",
    "status": "Status",
    "trained_parameters": "Trained parameters",
    "llm_share": "Share of LLM",
    "total_parameters": "All parameters",
    "speech_hours": "Hours of speech",
    "text_tokens": "Text tokens",
    "pretraining_speech_hours": "Hours of speech before",
    "pretraining_text_tokens": "Text tokens before",
    **{metric.name: metric.heading for metric in _BEFORE},
    "difference": "F1 difference to baseline",
    "difference_p": "p (Holm)",
    **{metric.name: metric.heading for metric in _BEHIND},
    "seconds": "Seconds",
    "reported": "Reported F1",
}
"""What columns are called, in the order in which tables show them."""
_OTHER_TASKS = {"difference": "Difference to baseline", "reported": "Reported"}
WHOLE = (
    *("n", "speakers", "seeds", "trained_parameters", "total_parameters", "text_tokens"),
    *("pretraining_text_tokens", "partial_match_version", "difference_seeds", EXCLUDED),
)
UNEQUAL = ("total_parameters", "speech_hours", "text_tokens")  # each shown where it differs
TESTED = ("difference_p", "difference_se", "difference_seeds")
"""Of the difference: p after Holm, standard error over speakers, and the seeds that both have."""
BEFORE = ("pretraining_speech_hours", "pretraining_text_tokens")  # of audio LLMs; where there is one
WITH_INTERVAL = (*(m.name for m in _BEFORE if m.column == "with interval"), "difference")
SHOWN_PER_CENT = ("llm_share", *(metric.name for metric in METRICS.values() if metric.unit == PER_CENT))


def of_task(task: str) -> list[Metric]:
    """The metrics of a task that tables show."""
    return [metric for metric in TASKS[task].metrics if metric.column]


def named(tasks: Sequence[str]) -> list[str]:
    """The columns of a table of variants that are asked these tasks, in order."""
    metrics = list(dict.fromkeys(metric.name for task in tasks for metric in of_task(task)))
    columns = ["variant", "status", "n", "speakers", "seeds", "trained_parameters", "llm_share"]
    columns += [*UNEQUAL, *BEFORE]
    for name in (*(n for n in metrics if n in WITH_INTERVAL), "difference"):
        columns += [name, f"{name}_low", f"{name}_high"]
    columns += [*TESTED, "differs"]
    for name in (n for n in metrics if n not in WITH_INTERVAL):
        columns += [name, f"{name}_low", f"{name}_high"]
    columns += ["seconds", "reported", *(["partial_match_version"] if "f1" in metrics else [])]
    return [*columns, *FLOORS, EXCLUDED]


def chosen(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The named columns, each once, without the variant's own; UserError names those that the table has."""
    there = [name for name in HEADINGS if name in frame and name != "variant"]
    for name in names:
        if name not in there:
            raise UserError(f"the table has no column '{name}'; its columns are: {', '.join(there)}")
    return list(dict.fromkeys(names))


def headings(frame: pd.DataFrame) -> dict[str, str]:
    """What the columns are called; of slots the main metric is F1, and the table says so."""
    return HEADINGS if "f1" in frame else HEADINGS | _OTHER_TASKS


def how(frame: pd.DataFrame) -> list[str]:
    """How the table's metrics are made: a sentence a task, then those that single metrics have."""
    versions = frame["partial_match_version"].dropna().unique() if "f1" in frame else []
    slots = [f"P, R, F1: partial match, version {version}, this suite's own." for version in versions]
    shown = [task.how for task in TASKS.values() if task.main.name in frame]
    return slots + list(filter(None, [*shown, *(m.how for m in METRICS.values() if m.name in frame)]))
