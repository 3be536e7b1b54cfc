"""Comparison of two variants of a study from stored records: values, difference, and turns that changed.

A slice has an id. `words=6-9` selects turns by their number of words, and `voice=en-gb` selects turns
of some speakers. `class=open` and `slot=home_city` select some slots of every turn. The sums of a
slice cover all speakers of the test set; a speaker without a turn in the slice has zeros. So its
intervals use the same bootstrap draws as the whole test set. A `voice=` slice is the exception: its
sums cover its own speakers only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress, pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import stats
from speechllm_bench.data import corpora
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score, seeds, versions
from speechllm_bench.planning import stored_runs, studies
from speechllm_bench.planning.stored_runs import StoredRun
from speechllm_bench.reports import breakdown, progress
from speechllm_bench.reports import study as reports
from speechllm_bench.storage import numbers
from speechllm_bench.storage.outputs import read_curve
from speechllm_bench.storage.schema import Prediction, SlotType
from speechllm_bench.tasks import MAIN_METRICS, METRICS, TASKS, Metric, slots

ALL = "all turns"
LEAST_TURNS = 10  # a slot needs this many turns that want it to become a slice
LEAST_SPEAKERS = 3  # a voice needs this many speakers to become a slice
_EDGES = (0, *breakdown.TURN_WORDS)
_WORDS = [f"words={low}-{high - 1}" for low, high in pairwise(_EDGES)] + [f"words={_EDGES[-1]}+"]
_CLASSES = {"class=open": True, "class=closed": False}
_LABELS = breakdown.bucket_labels(breakdown.TURN_WORDS)
_SHOWN = {name: f"turns of {label} words" for name, label in zip(_WORDS, _LABELS, strict=True)}
_SHOWN |= {"class=open": "slots of an open class", "class=closed": "slots of a closed class"}


def slice_label(slice_: str) -> str:
    """Return a description of a slice from its id."""
    kind, _, what = slice_.partition("=")
    forms = {"slot": f"the slot {slots.spoken_name(what)}", "voice": f"speakers of {what}"}
    return _SHOWN.get(slice_) or forms.get(kind, slice_)


@dataclass(frozen=True)
class Answered:
    """Answers of one run, with their counts for the main metric of the task."""

    predictions: list[Prediction]
    metric: Metric
    counts: dict[str, np.ndarray]  # slice -> (n_turns, k), zeros for turns outside it
    inside: dict[str, np.ndarray]  # slice -> (n_turns,) bool: whether a turn is in it, or wants its slots
    right: np.ndarray  # (n_turns,) bool: nothing missing and nothing extra

    @property
    def turns(self) -> dict[str, int]:
        """Return the number of turns in each slice."""
        return {name: int(self.inside[name].sum()) for name in self.counts}

    def sums(self, slice_: str = ALL) -> stats.SpeakerSums:
        """Return the counts of a slice summed over each speaker's turns. UserError for an unknown slice."""
        if slice_ not in self.counts:
            raise UserError(f"there is no slice '{slice_}'; the slices are: {', '.join(self.counts)}")
        kept = [
            (p.example_id, p.speaker, counts)
            for p, counts in zip(self.predictions, self.counts[slice_], strict=True)
            if not slice_.startswith("voice=") or _voice(p.speaker) == slice_
        ]
        ids, speakers, counted = zip(*kept, strict=True)
        return stats.sum_by_speaker(ids, speakers, np.array(counted))

    def all_sums(self) -> dict[str, np.ndarray]:
        """Return the sums (n_speakers, k) of every slice, as `sums` has them one by one, in a single pass."""
        ids, speakers = zip(*((p.example_id, p.speaker) for p in self.predictions), strict=True)
        found = stats.sum_by_speaker(ids, speakers, np.stack(list(self.counts.values())))
        own = {name: np.array([_voice(s) == name for s in found.speakers]) for name in self.counts}
        summed = zip(self.counts, found.sums, strict=True)
        return {name: sums[own[name]] if name.startswith("voice=") else sums for name, sums in summed}


def answers_of(predictions: Sequence[Prediction], config: dict, profile: str) -> Answered:
    """Return the answers of a run, in their order.

    config: the configuration in run.json. F1 of slots is partial match in the version that the profile shows.
    """
    asked = config["evaluation"]
    task = TASKS[asked["task"]]
    slot_types = corpora.slot_types((asked.get("corpus") or config["corpus"])["name"])
    parse = score.parser(task.name, asked.get("wording"), slot_types)
    found = [(parse(p.gold), parse(p.raw)) for p in predictions]
    of_slots = task.main is slots.F1
    if of_slots:
        version = versions.shown_version(profile)
        whole = np.array([versions.counts(gold, said, version) for gold, said in found], float)
    else:
        whole = np.array(task.count(predictions, parse).counts[task.main.counts], float)
    counts, inside = {ALL: whole}, {ALL: np.ones(len(whole), bool)}
    speakers = [p.speaker for p in predictions]
    lengths, by_voice = list(map(_words, predictions)), list(map(_voice, speakers))
    for slices, names in ((lengths, _WORDS), (by_voice, voices(speakers))):
        for name in names:
            inside[name] = np.array(slices) == name
            counts[name] = whole * inside[name][:, None]
    if of_slots:
        for name, kept in _slots(found, slot_types).items():
            counts[name], inside[name] = _of_slots(found, kept, version)
    counts = {name: c for name, c in counts.items() if name == ALL or c[:, 1:].any()}
    parsed = np.array([said is not None for _, said in found])
    return Answered(list(predictions), task.main, counts, inside, _right(whole, task.main) & parsed)


def flipped(a: Answered, b: Answered) -> list[int]:
    """Return the turns that one run has right and the other wrong. UserError if the questions differ."""
    if [p.example_id for p in a.predictions] != [p.example_id for p in b.predictions]:
        raise UserError("these two answered different questions; choose two variants of one test set")
    return np.flatnonzero(a.right != b.right).tolist()


def _slots(found: Sequence[tuple], slot_types: Mapping[str, SlotType]) -> dict[str, set[str]]:
    """Return the slices of slots: slice id -> slot names."""
    wanted = Counter(slot for gold, _ in found for slot in gold or ())
    of_class = {
        n: {t.name for t in slot_types.values() if t.open_class == is_open} for n, is_open in _CLASSES.items()
    }
    return of_class | {f"slot={slot}": {slot} for slot in sorted(wanted) if wanted[slot] >= LEAST_TURNS}


def _of_slots(found: Sequence[tuple], kept: set[str], version: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts (n_turns, 3) of these slots, and (n_turns,) whether a turn wants one of them."""
    counts, wants = np.zeros((len(found), 3)), np.zeros(len(found), bool)
    for i, pair in enumerate(found):
        if all(not some or kept.isdisjoint(some) for some in pair):
            continue  # most turns have none of a slice's slots
        gold, said = (some and breakdown.of_slots(some, kept) for some in pair)
        counts[i], wants[i] = versions.counts(gold, said, version), bool(gold)
    return counts, wants


def voices(speakers: Collection[str]) -> dict[str, int]:
    """Return the slices by voice with their number of speakers. Empty if the test set has one voice.

    Speakers of the embedded corpora are called `voice+variant`.
    """
    n = Counter(map(_voice, sorted(set(speakers))))
    return {name: n[name] for name in n if n[name] >= LEAST_SPEAKERS} if len(n) > 1 else {}


def _voice(speaker: str) -> str:
    return f"voice={speaker.partition('+')[0]}"


def _words(prediction: Prediction) -> str:
    return _WORDS[bisect_right(breakdown.TURN_WORDS, len(prediction.transcript.split()))]


def _right(counts: np.ndarray, metric: Metric) -> np.ndarray:
    """Return (n_turns,) bool from counts: (correct, predicted, gold) of classes, or (part, whole)."""
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
"""Name -> rule that selects turns by whether the first and the second variant are right."""

Pair = tuple[Prediction, Prediction]


class Comparing:
    """A study at a profile, with those of its runs that have a score."""

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
        """Return test set and task -> the variants that answered the same questions."""
        groups: dict[tuple, list[str]] = {}
        for name, some in self.runs.items():
            groups.setdefault((some[0].score["items"], score.main_metric(some[0].score)), []).append(name)
        firsts = [names[0] for names in groups.values()]
        tasks = (score.task_of(self.runs[name][0].score) for name in firsts)
        labels = (f"{self._sets[name]} ({task})" for name, task in zip(firsts, tasks, strict=True))
        return dict(zip(told_apart(labels), groups.values(), strict=True))

    def baseline(self, names: Sequence[str]) -> str | None:
        """Return the first of the study's baselines that is among some variants. None without any."""
        return next((name for name in self.study.baselines if name in names), None)

    def baseline_of(self, variant: str) -> str | None:
        """Return the baseline on a variant's test set. None without any."""
        return self.baseline(next(names for names in self.test_sets().values() if variant in names))

    def metrics(self, variant: str) -> list[str]:
        """Return the metrics of a variant that tables show, main metric first."""
        held = self.runs[variant][0].score
        main = score.main_metric(held)
        return [main, *(m for m in held["metrics"] if m in METRICS and METRICS[m].column and m != main)]

    def slices(self, variant: str) -> list[str]:
        """Return the ids of the slices of the variant's test set, the whole set first."""
        return list(self._answered(self.runs[variant][0]).counts)

    def turns_in(self, variant: str, slice_: str) -> int:
        """Return the number of turns in a slice of the variant's test set."""
        return self._answered(self.runs[variant][0]).turns[slice_]

    def value(self, variant: str, metric: str, slice_: str = ALL) -> stats.Comparison:
        """Return a variant's metric over its seeds. A slice has the main metric only."""
        found = self._contrast([self.runs[variant]], [1], metric, slice_)
        return stats.within(found, 0, METRICS[metric].most)

    def difference(self, first: str, second: str, metric: str, slice_: str = ALL) -> stats.Comparison:
        """Return the paired difference second - first over the seeds of both. UserError without any."""
        of_first = {one.seed: one for one in self.runs[first]}
        shared = [(one, of_first[one.seed]) for one in self.runs[second] if one.seed in of_first]
        if not shared:
            raise UserError(f"{first} and {second} have no seed in common")
        return self._contrast(list(zip(*shared, strict=True)), [1, -1], metric, slice_)

    def turns(self, first: str, second: str, kind: str, slice_: str = ALL) -> list[Pair]:
        """Return the answers of both variants to the turns of one of `KINDS`, from the first seed of each.

        slice_: keeps the turns in it. A slice of slots keeps the turns that want one of them.
        """
        a, b = (self._answered(self.runs[name][0]) for name in (first, second))
        flipped(a, b)  # raises UserError if the questions differ
        kept = KINDS[kind](a.right, b.right) & a.inside.get(slice_, a.inside[ALL])
        return list(compress(zip(a.predictions, b.predictions, strict=True), kept))

    def curves(self, variants: Sequence[str]) -> Figure | None:
        """Draw loss and main metrics on the validation turns of these variants, with the floors of F1."""
        version = versions.shown_version(self.profile)
        frames = [
            read_curve(file, version).assign(variant=name, seed=one.seed)
            for name in variants
            for one in self.runs[name]
            if (file := one.folder / "curve.csv").is_file()
        ]
        if not frames:
            return None
        curve = pd.concat(frames, ignore_index=True)
        rows = studies.records(self.study.study, self.profile)
        return progress.validation_figure(self.study, rows, curve, ("loss", *MAIN_METRICS))

    def _contrast(
        self, systems: Sequence[Sequence[StoredRun]], weights: Sequence[float], metric: str, slice_: str
    ) -> stats.Comparison:
        scores = [[one.score for one in some] for some in systems]
        if slice_ == ALL:
            return score.contrast(scores, weights, metric)
        if metric != score.main_metric(scores[0][0]):
            raise UserError(f"a slice has only the main metric, {score.main_metric(scores[0][0])}")
        summed = [stats.stack_seeds([self._answered(one).sums(slice_) for one in some]) for some in systems]
        between = seeds.variance([some[0] for some in scores], weights, metric, n_seeds=len(scores[0]))
        return stats.contrast(summed, weights, METRICS[metric].rule, score.rng(), between)

    def _read(self, one: StoredRun) -> Answered:
        return answers_of(one.predictions(), one.config, self.profile)


def without_scores(profile: str) -> set[str]:
    """Return the studies in a profile's numbers of which no variant has a score."""
    rows = [row for row in numbers.read(profile).values() if row.table == row.study]
    return {row.study for row in rows} - {row.study for row in rows if row.n is not None}


def told_apart(labels: Iterable[str]) -> list[str]:
    """Return the labels in order. Repeated labels get a number from the second one on."""
    seen: Counter[str] = Counter()
    shown = []
    for label in labels:
        seen[label] += 1
        shown.append(label if seen[label] == 1 else f"{label}, {seen[label]}")
    return shown
