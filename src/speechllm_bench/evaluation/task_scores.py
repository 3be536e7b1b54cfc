"""One way from a task's answers to its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from speechllm_bench.config import Wording
from speechllm_bench.data.tasks import TASKS, slots
from speechllm_bench.data.tasks.traced_slots import FORMS
from speechllm_bench.evaluation import score, traces
from speechllm_bench.schema import Prediction, SlotType


def parser(task: str, wording: Wording | None, slot_types: Mapping[str, SlotType]) -> score.Parse:
    """The parser of a task's answers; asked in other names, it maps these back to the slots' own."""
    parse = TASKS[task].parse
    return partial(parse, names=slots.paraphrases(slot_types)) if wording == "paraphrased" else parse


def score_task(task: str, predictions: Sequence[Prediction], parse: score.Parse) -> dict:
    """The score of answers to one of `data.tasks.TASKS`, read by its parser; with the task's version."""
    scored = _scored(task, predictions, parse)
    scored["versions"] |= {f"task {task}": TASKS[task].VERSION}
    return scored


def _scored(task: str, predictions: Sequence[Prediction], parse: score.Parse) -> dict:
    if task in FORMS:
        return traces.score_traced_slots(predictions, FORMS[task])
    if task == "transcription":
        return score.score_transcription(predictions)
    if task in ("sit", "sqit"):
        return score.score_answers(predictions)
    of_task = {"slots": score.score_slots, "ner": score.score_ner, "sentiment": score.score_sentiment}
    return of_task[task](predictions, parse)
