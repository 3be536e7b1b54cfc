"""Two variants of a study side by side, from stored records: values, difference, turns that flipped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import stats, studies
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score, seeds, versions
from speechllm_bench.reports import answered, figures, looks, on_disk
from speechllm_bench.reports.curves import read_curve
from speechllm_bench.reports.on_disk import StoredRun
from speechllm_bench.schema import Prediction
from speechllm_bench.tasks import MAIN_METRICS, METRICS

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
        rows = [row for row in on_disk.rows(study, profile) if row.table == study]
        found = {row.name: on_disk.alike(on_disk.runs_of(row, profile)) for row in rows}
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
        return dict(zip(on_disk.told_apart(labels), groups.values(), strict=True))

    def metrics(self, variant: str) -> list[str]:
        """The metrics of a variant that tables show, its main one first."""
        held = self.runs[variant][0].score
        main = score.main_metric(held)
        return [main, *(m for m in held["metrics"] if m in METRICS and METRICS[m].column and m != main)]

    def slices(self, variant: str) -> list[str]:
        """The slices of the variant's test set, the whole first."""
        return list(self._answered(self.runs[variant][0]).counts)

    def value(self, variant: str, metric: str, slice_: str = answered.ALL) -> stats.Comparison:
        """A variant's metric over its seeds; of a slice the main metric alone."""
        found = self._contrast([self.runs[variant]], [1], metric, slice_)
        return stats.within(found, 0, METRICS[metric].most)

    def difference(
        self, first: str, second: str, metric: str, slice_: str = answered.ALL
    ) -> stats.Comparison:
        """Second less first, paired, over the seeds that both have; UserError without any."""
        of_first = {one.seed: one for one in self.runs[first]}
        shared = [(one, of_first[one.seed]) for one in self.runs[second] if one.seed in of_first]
        if not shared:
            raise UserError(f"{first} and {second} have no seed in common")
        return self._contrast(list(zip(*shared, strict=True)), [1, -1], metric, slice_)

    def turns(self, first: str, second: str, kind: str) -> list[Pair]:
        """The answers of both to the turns of one of `KINDS`, each of its first seed."""
        a, b = (self._answered(self.runs[name][0]) for name in (first, second))
        answered.flipped(a, b)  # refuses other turns
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
        if slice_ == answered.ALL:
            return score.contrast(scores, weights, metric)
        if metric != score.main_metric(scores[0][0]):
            raise UserError(f"a slice has the main metric alone, {score.main_metric(scores[0][0])}")
        summed = [stats.stack_seeds([self._answered(one).sums(slice_) for one in some]) for some in systems]
        between = seeds.variance([some[0] for some in scores], weights, metric)
        return stats.contrast(summed, weights, METRICS[metric].rule, score.rng(), between)

    def _read(self, one: StoredRun) -> answered.Answered:
        return answered.answered(one.predictions(), one.config, self.profile)
