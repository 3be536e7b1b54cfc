"""Two variants of a study side by side, from stored records: values, difference, turns that flipped.

A slice keeps some turns of a test set, or some slots of every turn. All speakers of the test set stay in its
sums, those without a turn in it with zeros, so that intervals of all slices rest on the same draws.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import stats, studies
from speechllm_bench.data import corpora
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score, seeds, versions
from speechllm_bench.reports import breakdown, figures, looks, stored_runs
from speechllm_bench.reports import study as reports
from speechllm_bench.reports.stored_runs import StoredRun, read_curve
from speechllm_bench.schema import Prediction
from speechllm_bench.tasks import MAIN_METRICS, METRICS, TASKS, Metric, slots

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


def answers_of(predictions: Sequence[Prediction], config: dict, profile: str) -> Answered:
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


KINDS = {
    "second right, first wrong": lambda first, second: second & ~first,
    "first right, second wrong": lambda first, second: first & ~second,
    "all that flipped": lambda first, second: first != second,
    "both wrong": lambda first, second: ~first & ~second,
}
"""Which turns are shown, of whether the first and the second variant have them right."""

Pair = tuple[Prediction, Prediction]


class Comparing:
    """A study at a profile, with its runs that have a score."""

    def __init__(self, study: str, profile: str):
        self.study, self.profile = studies.load(study, profile)[0], profile
        rows = [row for row in reports.rows_of(study, profile) if row.table == study]
        found = {row.name: stored_runs.alike(stored_runs.runs_of(row, profile)) for row in rows}
        self.runs: dict[str, list[StoredRun]] = {name: some for name, some in found.items() if some}
        if not self.runs:
            raise UserError(f"study '{study}' has no scores at profile {profile}; run it by `make` first")
        self._sets = {row.name: row.test_set for row in rows}
        self._answered = cache(self._read)

    def test_sets(self) -> dict[str, list[str]]:
        """The variants that answered the same questions, under their test set and task."""
        groups: dict[tuple, list[str]] = {}
        for name, some in self.runs.items():
            groups.setdefault((some[0].score["items"], score.main_metric(some[0].score)), []).append(name)
        firsts = [names[0] for names in groups.values()]
        tasks = (score.task_of(self.runs[name][0].score) for name in firsts)
        labels = (f"{self._sets[name]} ({task})" for name, task in zip(firsts, tasks, strict=True))
        return dict(zip(told_apart(labels), groups.values(), strict=True))

    def metrics(self, variant: str) -> list[str]:
        """The metrics of a variant that tables show, its main one first."""
        held = self.runs[variant][0].score
        main = score.main_metric(held)
        return [main, *(m for m in held["metrics"] if m in METRICS and METRICS[m].column and m != main)]

    def slices(self, variant: str) -> list[str]:
        """The slices of the variant's test set, the whole first."""
        return list(self._answered(self.runs[variant][0]).counts)

    def value(self, variant: str, metric: str, slice_: str = ALL) -> stats.Comparison:
        """A variant's metric over its seeds; of a slice the main metric alone."""
        found = self._contrast([self.runs[variant]], [1], metric, slice_)
        return stats.within(found, 0, METRICS[metric].most)

    def difference(self, first: str, second: str, metric: str, slice_: str = ALL) -> stats.Comparison:
        """Second less first, paired, over the seeds that both have; UserError without any."""
        of_first = {one.seed: one for one in self.runs[first]}
        shared = [(one, of_first[one.seed]) for one in self.runs[second] if one.seed in of_first]
        if not shared:
            raise UserError(f"{first} and {second} have no seed in common")
        return self._contrast(list(zip(*shared, strict=True)), [1, -1], metric, slice_)

    def turns(self, first: str, second: str, kind: str) -> list[Pair]:
        """The answers of both to the turns of one of `KINDS`, each of its first seed."""
        a, b = (self._answered(self.runs[name][0]) for name in (first, second))
        flipped(a, b)  # refuses other turns
        kept = KINDS[kind](a.right, b.right)
        return [
            pair
            for pair, keep in zip(zip(a.predictions, b.predictions, strict=True), kept, strict=True)
            if keep
        ]

    def curves(self, variants: Sequence[str]) -> Figure | None:
        """Loss and main metrics on validation turns of these variants; None where nothing was trained."""
        frames = []
        for name in variants:
            for one in self.runs[name]:
                if (file := one.folder / "curve.csv").is_file():
                    curve = read_curve(file, versions.shown_version(self.profile))
                    frames.append(curve.assign(variant=name, seed=one.seed))
        if not frames:
            return None
        curve = pd.concat(frames, ignore_index=True)
        held = set(curve.loc[curve["split"] == "validation", "metric"])
        names = [metric for metric in ("loss", *MAIN_METRICS) if metric in held]
        if not names:
            return None
        figure, axes = figures.panels(len(names), "page")
        for metric, ax in zip(names, axes):
            figures.learning_curves(curve, ax, metric, looks=looks.of(self.study))
        figures.legend(figure)
        return figure

    def _contrast(
        self, systems: Sequence[Sequence[StoredRun]], weights: Sequence[float], metric: str, slice_: str
    ) -> stats.Comparison:
        scores = [[one.score for one in some] for some in systems]
        if slice_ == ALL:
            return score.contrast(scores, weights, metric)
        if metric != score.main_metric(scores[0][0]):
            raise UserError(f"a slice has the main metric alone, {score.main_metric(scores[0][0])}")
        summed = [stats.stack_seeds([self._answered(one).sums(slice_) for one in some]) for some in systems]
        between = seeds.variance([some[0] for some in scores], weights, metric)
        return stats.contrast(summed, weights, METRICS[metric].rule, score.rng(), between)

    def _read(self, one: StoredRun) -> Answered:
        return answers_of(one.predictions(), one.config, self.profile)


def told_apart(labels: Iterable[str]) -> list[str]:
    """Labels of test sets, in order; of those that are alike the later ones are numbered."""
    seen: Counter[str] = Counter()
    shown = []
    for label in labels:
        seen[label] += 1
        shown.append(label if seen[label] == 1 else f"{label}, {seen[label]}")
    return shown
