"""How good an annotator's labels of entities are: precision, recall and F1 before and after each filter, and
what is wrong with them (2509.04473 reports neither)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from speechllm_bench import metrics, stats
from speechllm_bench.data.annotators.entities import FILTERS, Labels
from speechllm_bench.metrics import ner_f1
from speechllm_bench.schema import ENTITY_TAGS, Utterance
from speechllm_bench.tasks.prompt import contains

KINDS = ("right", "wrong tag", "wrong boundary", "meaningless tag", "not said", "no entity", "omitted")
"""What becomes of an entity: one that was labelled, or one that was not (omitted)."""

_STEPS = ("as written", *FILTERS)
_RATES = {"precision": metrics.precision, "recall": metrics.recall, "F1": metrics.f1}

Written = Mapping[str, Sequence[Labels | None]]
"""An annotator's labels of some turns, by its name; None: its answer could not be read."""


def quality(written: Written, gold: Sequence[Labels], turns: Sequence[Utterance]) -> pd.DataFrame:
    """One row an annotator and filter, each filter on top of the ones before it.

    Entities match as `metrics.ner_f1` matches them. F1 has a 95 % interval over the turns' speakers.
    """
    lines = []
    for name, labels in written.items():
        for step, kept in _after_each_filter(labels, turns):
            counts = np.array([ner_f1.counts(*pair) for pair in zip(gold, kept, strict=True)])
            alone = np.array([ner_f1.label_counts(*pair) for pair in zip(gold, kept, strict=True)])
            line = {"annotator": name, "filter": step, "unreadable answers": sum(a is None for a in labels)}
            line |= {"labels": int(counts[:, 1].sum())}
            line |= {rate: float(of(counts.sum(axis=0))) for rate, of in _RATES.items()}
            interval = _interval(turns, counts)
            line |= {"F1, low": interval.low, "F1, high": interval.high}
            lines.append(line | {"label-F1": float(metrics.f1(alone.sum(axis=0)))})
    return pd.DataFrame(lines)


def errors(written: Written, gold: Sequence[Labels], turns: Sequence[Utterance]) -> pd.DataFrame:
    """One row an annotator and filter: how many entities met which of `KINDS`."""
    lines = []
    for name, labels in written.items():
        for step, kept in _after_each_filter(labels, turns):
            ends: Counter[str] = Counter()
            for wanted, found, turn in zip(gold, kept, turns, strict=True):
                ends += kinds(wanted, found, turn.transcript)
            lines.append({"annotator": name, "filter": step} | {kind: ends[kind] for kind in KINDS})
    return pd.DataFrame(lines, columns=["annotator", "filter", *KINDS])


def kinds(gold: Labels, labels: Labels | None, transcript: str) -> Counter[str]:
    """Counts of what became of one turn's entities, by `KINDS`.

    Each label has one kind, the first that holds: meaningless tag; phrase not said; the phrase of a gold
    entity; words shared with a gold entity of its tag; no entity. A gold entity that no label has used up is
    omitted; those with a meaningless tag come last, so that a filter leaves the other labels' kinds alone.
    """
    left, wrong = Counter(gold), Counter(labels or ()) - Counter(gold)
    left -= Counter(labels or ())
    found = Counter({"right": len(gold) - left.total()})

    def use_up(tag: str | None, phrase: str | None = None, words: str = "") -> bool:
        for entity in left.elements():
            same = phrase == entity[1] or bool(set(words.split()) & set(entity[1].split()))
            if same and tag in (None, entity[0]):
                left[entity] -= 1
                return True
        return False

    for tag, phrase in sorted(wrong.elements(), key=lambda label: label[0] not in ENTITY_TAGS):
        if tag not in ENTITY_TAGS:
            use_up(None, phrase)
            found["meaningless tag"] += 1
        elif not contains(transcript, phrase):
            found["not said"] += 1
        elif use_up(None, phrase):
            found["wrong tag"] += 1
        elif use_up(tag, words=phrase):
            found["wrong boundary"] += 1
        else:
            found["no entity"] += 1
    return found + Counter(omitted=left.total())


def _after_each_filter(labels: Sequence[Labels | None], turns: Sequence[Utterance]):
    """The labels as written, and after each filter on top of the ones before it, by name."""
    kept = [labels_of_turn or () for labels_of_turn in labels]
    yield _STEPS[0], kept
    for name, keep in FILTERS.items():
        kept = [keep(some, turn.transcript) for some, turn in zip(kept, turns, strict=True)]
        yield name, kept


def _interval(turns: Sequence[Utterance], counts: np.ndarray):
    summed = stats.sum_by_speaker([turn.id for turn in turns], [turn.speaker for turn in turns], counts)
    return stats.bootstrap(summed, metrics.f1, np.random.default_rng(0), n_boot=1000)
