"""The tasks. Each is an object in a module of its own, and `MODULES` lists the modules.

A module lists its tasks in `TASKS`. A task has a question, target, parser, counts, metrics and the gold that
it needs (`task.Task`). Configuration, training, scores, tables and figures use only these objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from speechllm_bench.tasks.metric import Metric
from speechllm_bench.tasks.prompt import AUDIO
from speechllm_bench.tasks.task import Task

MODULES = (
    "slots",
    "traced_slots",
    "transcription",
    "sit",
    "sqit",
    "ner",
    "sentiment",
)
"""Modules of this package that define tasks, in the order of tables and figures."""


def by_name(found: Iterable[Task]) -> dict[str, Task]:
    """Return tasks by name. Raises ValueError if two have the same name."""
    tasks: dict[str, Task] = {}
    for task in found:
        if tasks.setdefault(task.name, task) is not task:
            raise ValueError(f"two tasks are called '{task.name}'")
    return tasks


def metrics_of(tasks: Iterable[Task]) -> dict[str, Metric]:
    """Return all metrics of some tasks by name.

    Raises ValueError if two different metrics share a name, or if tables would not show a main metric.
    """
    metrics: dict[str, Metric] = {}
    for task in tasks:
        for metric in task.metrics:
            if metrics.setdefault(metric.name, metric) != metric:
                raise ValueError(f"task '{task.name}' gives the name '{metric.name}' to another metric")
        if task.main not in task.metrics or task.main.column != "with interval":
            raise ValueError(f"task '{task.name}' needs a main metric among its metrics, with an interval")
    return metrics


TASKS = by_name(task for name in MODULES for task in import_module(f"{__name__}.{name}").TASKS)
METRICS = metrics_of(TASKS.values())
MAIN_METRICS = tuple(dict.fromkeys(task.main.name for task in TASKS.values()))
"""Names of the metrics that decide which of two systems is better at a task."""
USUAL = next(iter(TASKS))
"""Default task of studies."""

__all__ = ["AUDIO", "MAIN_METRICS", "METRICS", "TASKS", "USUAL", "Metric", "Task"]
