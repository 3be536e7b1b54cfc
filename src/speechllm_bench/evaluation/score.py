"""Scores a model's answers: counts of every prediction, totals, metrics with intervals.

A score is plain JSON. It contains each metric's sums by speaker, so reports compute new intervals and paired
differences from it alone, without predictions, parser or torch. The task defines the counts and the metrics.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np

from speechllm_bench import stats
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import intervals, seeds
from speechllm_bench.storage.schema import Prediction, SlotType, Utterance
from speechllm_bench.tasks import METRICS, TASKS, slots, transcription
from speechllm_bench.tasks.task import Draw, Parse, predicted

_TASK = "task "  # prefix of a task's name among the versions of a score


def parser(task: str, wording: slots.Wording | None, slot_types: Mapping[str, SlotType]) -> Parse:
    """Return the parser of a task's answers. With wording `paraphrased` it maps names back to slots."""
    parse: Callable = TASKS[task].parse
    return partial(parse, names=slots.paraphrases(slot_types)) if wording == "paraphrased" else parse


def score_transcripts(turns: Sequence[Utterance], said: Sequence[str]) -> dict:
    """Return the score of transcripts that need no prompt, one per turn: a recogniser's or a CTC head's."""
    question = partial(transcription.example, draw=Draw({}, random.Random(0)))  # it draws nothing
    answers = [predicted(question(turn), turn, text) for turn, text in zip(turns, said, strict=True)]
    return score_task(transcription.NAME, answers)


def score_task(task: str, predictions: Sequence[Prediction], parse: Parse | None = None) -> dict:
    """Return the score of answers to one of `tasks.TASKS`. parse: None is the task's own parser."""
    asked = TASKS[task]
    counted = asked.count(predictions, parse or asked.parse)
    ids = [p.example_id for p in predictions]
    speakers = [p.speaker for p in predictions]
    summed = {k: stats.sum_by_speaker(ids, speakers, np.array(v, float)) for k, v in counted.counts.items()}
    any_sums = next(iter(summed.values()))
    made = [metric for metric in asked.metrics if metric.counts in summed]
    return {
        "versions": counted.versions | {f"{_TASK}{task}": asked.version},
        "n": any_sums.n,
        "items": any_sums.items,
        "metrics": {m.name: asdict(stats.bootstrap(summed[m.counts], m.rule, rng())) for m in made},
        "totals": {name: s.sums.sum(axis=(0, 1)).tolist() for name, s in summed.items()},
        "speakers": list(any_sums.speakers),
        "sums": {name: s.sums[0].tolist() for name, s in summed.items()},
        **counted.further,
    }


def task_of(score: Mapping) -> str:
    """Return the task of a score, as marked by `studies.records` or else as stored among its versions."""
    versions = (name.removeprefix(_TASK) for name in score["versions"] if name.startswith(_TASK))
    return score.get("task") or next(versions)


def main_metric(score: Mapping) -> str:
    """Return the main metric of a stored score's task, which decides which of two systems is better."""
    return TASKS[task_of(score)].main.name


def speaker_sums(score: dict, metric: str) -> stats.SpeakerSums:
    """Return the counts of one of `tasks.METRICS` in a stored score of one seed.

    Raises UserError if there are none: the task lacks the metric, or it is newer than the score.
    """
    counts = METRICS[metric].counts
    if counts not in score["sums"]:
        run, profile = (score.get(name) for name in ("run", "profile"))  # of `studies.shown_score`
        if profile and METRICS[metric] in TASKS[task_of(score)].metrics:
            raise UserError(
                f"the score of run {run} of profile '{profile}' has no '{metric}'; "
                f"add it by: speechllm-bench rescore --profile {profile}"
            )
        raise UserError(f"the score holds no '{metric}'; it has {', '.join(score['metrics'])}")
    sums = np.asarray(score["sums"][counts], float)[None]
    return stats.SpeakerSums(score["n"], score["items"], tuple(score["speakers"]), sums)


def interval(scores: Sequence[dict], metric: str) -> stats.Comparison:
    """Return a metric with its interval over the seeds of one system.

    scores: one stored score per seed, from `seeds.marked`.
    """
    return stats.within(contrast([scores], [1], metric), 0, METRICS[metric].most)


def difference(scores: Sequence[dict], baseline: Sequence[dict], metric: str) -> stats.Comparison:
    """Return the paired difference to a baseline. Both have their seeds in the same order."""
    return contrast([scores, baseline], [1, -1], metric)


def contrast(systems: Sequence[Sequence[dict]], weights: Sequence[float], metric: str) -> stats.Comparison:
    """Return the weighted sum of systems' metrics. All have their seeds in the same order."""
    stacked = [stats.stack_seeds([speaker_sums(s, metric) for s in scores]) for scores in systems]
    between = seeds.variance([scores[0] for scores in systems], weights, metric, n_seeds=len(systems[0]))
    rule = METRICS[metric].rule
    return intervals.interval_of(
        stacked, weights, rule, between, lambda: stats.contrast(stacked, weights, rule, rng(), between)
    )


def rng() -> np.random.Generator:
    """Return a generator with a fixed seed, so that a table made again is the same table."""
    return np.random.default_rng(0)
