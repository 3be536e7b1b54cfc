"""From what a model said to numbers: counts of every prediction, totals, intervals.

A score is plain JSON. It keeps each metric's sums by speaker, so that reports draw new intervals and
paired differences from it alone, without predictions, parser or torch. What is counted, and which metrics
are made of it, is the task's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np

from speechllm_bench import stats
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import intervals, seeds
from speechllm_bench.storage.schema import Prediction, SlotType, Utterance
from speechllm_bench.tasks import METRICS, TASKS, slots, transcription
from speechllm_bench.tasks.task import Parse

_TASK = "task "  # before a task's name among the versions of a score


def parser(task: str, wording: slots.Wording | None, slot_types: Mapping[str, SlotType]) -> Parse:
    """The parser of a task's answers; asked in other names, it maps these back to the slots' own."""
    parse: Callable = TASKS[task].parse
    return partial(parse, names=slots.paraphrases(slot_types)) if wording == "paraphrased" else parse


def score_transcripts(turns: Sequence[Utterance], said: Sequence[str]) -> dict:
    """The score of transcripts that came without a prompt, one a turn: a recogniser's, or a CTC head's."""
    answers = [
        Prediction(
            example_id=f"{turn.id}/{transcription.NAME}",
            utterance_id=turn.id,
            speaker=turn.speaker,
            task=transcription.NAME,
            raw=text,
            gold=turn.transcript,
            asked=(),
            n_tokens=0,
            transcript=turn.transcript,
        )
        for turn, text in zip(turns, said, strict=True)
    ]
    return score_task(transcription.NAME, answers)


def score_task(task: str, predictions: Sequence[Prediction], parse: Parse | None = None) -> dict:
    """The score of answers to one of `tasks.TASKS`; parse: its own parser where None."""
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
    """The task of a score, as `studies.records` marks it or, since there are versions of tasks, as stored."""
    versions = (name.removeprefix(_TASK) for name in score["versions"] if name.startswith(_TASK))
    return score.get("task") or next(versions)


def main_metric(score: Mapping) -> str:
    """The metric that decides which of two systems is better at the task of a stored score."""
    return TASKS[task_of(score)].main.name


def speaker_sums(score: dict, metric: str) -> stats.SpeakerSums:
    """The counts behind one of `tasks.METRICS` in a stored score of one seed."""
    counts = METRICS[metric].counts
    if counts not in score["sums"]:
        raise UserError(f"the score holds no '{metric}'; it has {', '.join(score['metrics'])}")
    sums = np.asarray(score["sums"][counts], float)[None]
    return stats.SpeakerSums(score["n"], score["items"], tuple(score["speakers"]), sums)


def interval(scores: Sequence[dict], metric: str) -> stats.Comparison:
    """A metric over the seeds of one system: one stored score a seed, as `seeds.marked` gives it."""
    return stats.within(contrast([scores], [1], metric), 0, METRICS[metric].most)


def difference(scores: Sequence[dict], baseline: Sequence[dict], metric: str) -> stats.Comparison:
    """The paired difference to a baseline; seeds of both stand in the same order."""
    return contrast([scores, baseline], [1, -1], metric)


def contrast(systems: Sequence[Sequence[dict]], weights: Sequence[float], metric: str) -> stats.Comparison:
    """The weighted sum of systems' metrics; the seeds of all stand in the same order."""
    stacked = [stats.stack_seeds([speaker_sums(s, metric) for s in scores]) for scores in systems]
    between = seeds.variance([scores[0] for scores in systems], weights, metric)
    rule = METRICS[metric].rule
    return intervals.interval_of(
        stacked, weights, rule, between, lambda: stats.contrast(stacked, weights, rule, rng(), between)
    )


def rng() -> np.random.Generator:
    """The same draws for every score, so that a table redrawn is the same table."""
    return np.random.default_rng(0)
