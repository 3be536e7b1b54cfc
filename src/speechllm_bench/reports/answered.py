"""A run turn by turn: which answers are right, what a slice of the turns counts, what two runs answer apart.

A slice keeps some turns of a test set, or some slots of every turn. All speakers of the test set stay in its
sums, those without a turn in it with zeros, so that intervals of all slices rest on the same draws.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechllm_bench import stats
from speechllm_bench.data import corpora
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score, versions
from speechllm_bench.reports import breakdown
from speechllm_bench.schema import Prediction
from speechllm_bench.tasks import TASKS, Metric, slots

ALL = "all turns"
OPEN, CLOSED = "slots of an open class", "slots of a closed class"
_WORDS = [f"turns of {label} words" for label in breakdown.bucket_labels(breakdown.TURN_WORDS)]


@dataclass(frozen=True)
class Answered:
    """The answers of one run with their counts by its task's main metric."""

    predictions: list[Prediction]
    metric: Metric
    counts: dict[str, np.ndarray]  # by slice (n_turns, k): zeros of a turn outside it
    turns: dict[str, int]  # by slice, how many turns are in it
    right: np.ndarray  # (n_turns,), whether nothing is missing and nothing too much

    def sums(self, slice_: str = ALL) -> stats.SpeakerSums:
        """Counts of a slice summed over each speaker's turns; UserError names the slices there are."""
        if slice_ not in self.counts:
            raise UserError(f"there is no slice '{slice_}'; the slices are: {', '.join(self.counts)}")
        ids, speakers = zip(*((p.example_id, p.speaker) for p in self.predictions), strict=True)
        return stats.sum_by_speaker(ids, speakers, self.counts[slice_])


def answered(predictions: Sequence[Prediction], config: dict, profile: str) -> Answered:
    """The answers of a run, in their order.

    config: as its run.json has it. F1 of slots is partial match of the version that the profile shows.
    """
    asked = config["evaluation"]
    task = TASKS[asked["task"]]
    slot_types = corpora.slot_types(config["corpus"]["name"])
    parse = score.parser(task.name, asked.get("wording"), slot_types)
    found = [(parse(p.gold), parse(p.raw)) for p in predictions]
    of_slots = task.main is slots.F1
    if of_slots:
        version = versions.shown_version(profile)
        whole = np.array([versions.counts(gold, said, version) for gold, said in found], float)
    else:
        whole = np.array(task.count(predictions, parse).counts[task.main.counts], float)
    counts = {ALL: whole} | _by_words(predictions, whole)
    turns = {ALL: len(whole)} | {
        name: sum(_words(p) == name for p in predictions) for name in counts if name != ALL
    }
    if of_slots:
        for name, is_open in ((OPEN, True), (CLOSED, False)):
            kept = {t.name for t in slot_types.values() if t.open_class == is_open}
            parts: list[Any] = [[some and breakdown.of_slots(some, kept) for some in pair] for pair in found]
            counts[name] = np.array([versions.counts(pair[0], pair[1], version) for pair in parts], float)
            turns[name] = sum(bool(gold) for gold, _ in parts)
    counts = {name: c for name, c in counts.items() if name == ALL or c[:, 1:].any()}
    parsed = np.array([said is not None for _, said in found])
    return Answered(list(predictions), task.main, counts, turns, _right(whole, task.main) & parsed)


def flipped(a: Answered, b: Answered) -> list[int]:
    """Places of the turns that one of two runs has right and the other wrong; UserError for other turns."""
    if [p.example_id for p in a.predictions] != [p.example_id for p in b.predictions]:
        raise UserError("these two answered different questions; choose two variants of one test set")
    return np.flatnonzero(a.right != b.right).tolist()


def _by_words(predictions: Sequence[Prediction], whole: np.ndarray) -> dict[str, np.ndarray]:
    of = np.array([_words(p) for p in predictions])
    return {name: whole * (of == name)[:, None] for name in _WORDS}


def _words(prediction: Prediction) -> str:
    return _WORDS[bisect_right(breakdown.TURN_WORDS, len(prediction.transcript.split()))]


def _right(counts: np.ndarray, metric: Metric) -> np.ndarray:
    """By the counts of single turns: (correct, predicted, gold) of one or more classes, or (part, whole)."""
    if counts.shape[1] % 3 == 0:
        correct, predicted, gold = counts.reshape(len(counts), -1, 3).sum(axis=1).T
        return np.isclose(correct, predicted) & np.isclose(correct, gold)
    return counts[:, 0] == 0 if metric.lower_is_better else counts[:, 0] == counts[:, 1]
