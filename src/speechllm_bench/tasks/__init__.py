"""The tasks. Each is an object in a module of its own, and `MODULES` lists the modules.

A module lists its tasks in `TASKS`. A task has a question, target, parser, counts, metrics and the gold that
it needs (`task.Task`). Configuration, training, scores and main tables use these objects alone.
"""

from __future__ import annotations

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

_FOUND: list[Task] = [task for name in MODULES for task in import_module(f"{__name__}.{name}").TASKS]
TASKS = {task.name: task for task in _FOUND}
METRICS = {metric.name: metric for task in _FOUND for metric in task.metrics}
MAIN_METRICS = tuple(dict.fromkeys(task.main.name for task in TASKS.values()))
"""Names of the metrics that decide which of two systems is better at a task."""
USUAL = next(iter(TASKS))
"""Default task of studies."""

__all__ = ["AUDIO", "MAIN_METRICS", "METRICS", "TASKS", "USUAL", "Metric", "Task"]
