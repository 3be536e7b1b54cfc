"""From what a model said to numbers: counts of every prediction, totals, intervals, kinds of error.

A score is plain JSON. It keeps each metric's sums by speaker, so that reports draw new intervals and
paired differences from it alone, without predictions, parser or torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from speechllm_bench import stats
from speechllm_bench.data.tasks.slots import Answer
from speechllm_bench.data.tasks.traced_slots import FORMS
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import seeds
from speechllm_bench.metrics import (
    class_f1,
    exact_match,
    f1,
    ner_f1,
    pairs,
    partial_match,
    precision,
    quotient,
    recall,
    slu_f1,
    wer,
)
from speechllm_bench.schema import SENTIMENTS, Prediction

Parse = Callable[[str], dict | list | str | None]
"""A task's parser: an answer's text to what it says, or None where it cannot be parsed."""


METRICS: dict[str, tuple[str, stats.Statistic]] = {
    "precision": ("partial_match", precision),
    "recall": ("partial_match", recall),
    "f1": ("partial_match", f1),
    "precision_v2": ("partial_match_v2", precision),
    "recall_v2": ("partial_match_v2", recall),
    "f1_v2": ("partial_match_v2", f1),
    "f1_v1": ("partial_match_v1", f1),  # where `versions.shown` gives the names above to version 2
    "exact_f1": ("exact_match", f1),
    "slu_f1": ("slu_f1", f1),
    "parse_failures": ("unparsable", quotient),
    "tokens": ("generated", quotient),  # an answer
    "trace_tokens": ("thought", quotient),  # a trace
    "obedience": ("obeyed", quotient),  # answers in the mode asked for
    "trace_wer": ("heard", wer.rate),  # of the transcripts in traces
    "faithfulness": ("faithful", quotient),  # of answers whose trace has the transcript their values occur in
    "grounding": (
        "grounded",
        quotient,
    ),  # of answers with reasons whose values stand each in its slot's reason
    "malformed": ("malformed", quotient),
    "accuracy": ("right", quotient),
    "wer": ("words", wer.rate),
    "cer": ("characters", wer.rate),
    "digit_error_rate": ("digits", wer.rate),
    "ner_f1": ("entities", f1),
    "label_f1": ("entity_tags", f1),
    "macro_f1": ("sentiment", class_f1.macro),
    "weighted_f1": ("sentiment", class_f1.weighted),
}
"""A metric's name in scores and tables: the counts it is made of, and how."""

MAIN = {
    **dict.fromkeys(("slots", *FORMS), "f1"),
    "transcription": "wer",
    "sit": "accuracy",
    "sqit": "accuracy",
    "ner": "ner_f1",
    "sentiment": "macro_f1",
}
"""The metric that decides which of two systems is better at a task."""

MAIN_METRICS = tuple(dict.fromkeys(MAIN.values()))

UNBOUNDED = ("wer", "cer", "digit_error_rate", "trace_wer", "tokens", "trace_tokens")
"""Metrics that can be above 1."""

LOWER_IS_BETTER = ("wer", "cer", "digit_error_rate")

ERROR_KINDS = (
    "correct",
    "heard wrong",
    "wrong span",
    "wrong slot",
    "distractor filled",
    "invented",
    "missed",
    "unparsable",
)


def main_metric(score: dict) -> str:
    """That one of `MAIN_METRICS` which a stored score holds."""
    return next(metric for metric in MAIN_METRICS if metric in score["metrics"])


def score_slots(
    predictions: Sequence[Prediction], parse: Parse, further: Mapping[str, list] | None = None
) -> dict:
    """precision, recall and f1 of partial match, version 1, and the same with the ending _v2 of version 2;
    exact_f1, slu_f1, parse_failures and tokens of slot answers.

    further: more counts of each prediction, by the name that `METRICS` gives them.
    """
    answers = _answers(predictions, parse)
    counts = {
        "partial_match": [partial_match.counts(gold, said) for gold, said in answers],
        "partial_match_v2": [partial_match.counts_v2(gold, given(said)) for gold, said in answers],
        "exact_match": [exact_match.counts(gold, said) for gold, said in answers],
        "slu_f1": [slu_f1.counts(pairs(gold), pairs(said)) for gold, said in answers],
        "unparsable": [(said is None, 1) for _, said in answers],
        "generated": [(p.n_tokens, 1) for p in predictions],
        **(further or {}),
    }
    versions = {"partial_match": partial_match.VERSION, "partial_match_v2": partial_match.VERSION_2}
    versions |= {"exact_match": exact_match.VERSION, "slu_f1": slu_f1.VERSION}
    kinds = error_kinds(predictions, parse)
    return _score(predictions, counts, versions) | {"error_kinds": {k: kinds[k] for k in ERROR_KINDS}}


def score_transcription(predictions: Sequence[Prediction]) -> dict:
    """wer, cer and digit_error_rate of transcripts, after Whisper's English normaliser.

    There is no digit_error_rate of a test set in which no digit is said.
    """
    counts = {
        "words": [wer.word_counts(p.gold, p.raw) for p in predictions],
        "characters": [wer.char_counts(p.gold, p.raw) for p in predictions],
    }
    versions = {"wer": wer.VERSION}
    digits = [wer.digit_counts(p.gold, p.raw) for p in predictions]
    if any(counted.reference for counted in digits):
        counts["digits"] = digits
        versions["digit_error_rate"] = wer.DIGITS_VERSION
    return _score(predictions, counts, versions)


def score_answers(predictions: Sequence[Prediction]) -> dict:
    """accuracy of answers to sit and sqit: the gold words, but for case and spaces.

    `answers` has, by what was asked, how many there were, how many were right, and how many the commonest
    gold answer alone would have got right.
    """
    right = [exact_match.same(p.gold, p.raw) for p in predictions]
    answers: dict[str, dict[str, int]] = {}
    for asks in sorted({p.asked[0] for p in predictions}):
        chosen = [(p.gold, found) for p, found in zip(predictions, right, strict=True) if p.asked[0] == asks]
        commonest = max(Counter(gold for gold, _ in chosen).values())
        answers[asks] = {"n": len(chosen), "right": sum(f for _, f in chosen), "commonest": commonest}
    counts = {"right": [(found, 1) for found in right]}
    return _score(predictions, counts, {"exact_match": exact_match.VERSION}) | {"answers": answers}


def score_ner(predictions: Sequence[Prediction], parse: Parse) -> dict:
    """ner_f1, label_f1 and parse_failures of named entities."""
    answers = _answers(predictions, parse)
    counts = {
        "entities": [ner_f1.counts(gold, said) for gold, said in answers],
        "entity_tags": [ner_f1.label_counts(gold, said) for gold, said in answers],
        "unparsable": [(said is None, 1) for _, said in answers],
    }
    return _score(predictions, counts, {"ner_f1": ner_f1.VERSION})


def score_sentiment(predictions: Sequence[Prediction], parse: Parse) -> dict:
    """macro_f1, weighted_f1 and parse_failures of sentiments."""
    answers = _answers(predictions, parse)
    counts = {
        "sentiment": [class_f1.counts(gold, said, SENTIMENTS) for gold, said in answers],
        "unparsable": [(said is None, 1) for _, said in answers],
    }
    return _score(predictions, counts, {"class_f1": class_f1.VERSION})


def error_kinds(predictions: Sequence[Prediction], parse: Parse) -> Counter[str]:
    """What became of each slot that is in the gold answer or was filled; every slot has one kind.

    correct: the gold value. heard wrong: right slot, words that are not in the transcript. wrong span:
    right slot, words of the transcript that are not the value. wrong slot: the value of another slot.
    distractor filled: an empty slot given other words of the transcript. invented:
    an empty slot given words that are not in the transcript. missed: a gold slot left empty.
    unparsable: a gold slot of an answer that cannot be parsed.
    """
    kinds: Counter[str] = Counter()
    for prediction, (gold, said) in zip(predictions, _answers(predictions, parse), strict=True):
        wanted, filled = pairs(gold), pairs(said)
        if said is None:
            kinds["unparsable"] += len(wanted)
            continue
        for slot in wanted | filled:
            kinds[_kind(slot, wanted, filled, prediction.transcript)] += 1
    return kinds


def given(answer: dict | None) -> tuple[tuple[str, object], ...] | None:
    """Every pair of an answer in its order, of a slot given twice both; None of an unparsable answer."""
    if answer is None:
        return None
    return answer.given if isinstance(answer, Answer) else tuple(answer.items())


def speaker_sums(score: dict, metric: str) -> stats.SpeakerSums:
    """The counts behind one of `METRICS` in a stored score of one seed."""
    counts = METRICS[metric][0]
    if counts not in score["sums"]:
        raise UserError(f"the score holds no '{metric}'; it has {', '.join(score['metrics'])}")
    sums = np.asarray(score["sums"][counts], float)[None]
    return stats.SpeakerSums(score["n"], score["items"], tuple(score["speakers"]), sums)


def interval(scores: Sequence[dict], metric: str) -> stats.Comparison:
    """A metric over the seeds of one system: one stored score a seed, as `seeds.marked` gives it."""
    return stats.within(contrast([scores], [1], metric), 0, np.inf if metric in UNBOUNDED else 1)


def difference(scores: Sequence[dict], baseline: Sequence[dict], metric: str) -> stats.Comparison:
    """The paired difference to a baseline; seeds of both stand in the same order."""
    return contrast([scores, baseline], [1, -1], metric)


def contrast(systems: Sequence[Sequence[dict]], weights: Sequence[float], metric: str) -> stats.Comparison:
    """The weighted sum of systems' metrics; the seeds of all stand in the same order."""
    stacked = [stats.stack_seeds([speaker_sums(s, metric) for s in scores]) for scores in systems]
    between = seeds.variance([scores[0] for scores in systems], weights, metric)
    return stats.contrast(stacked, weights, METRICS[metric][1], rng(), between)


def _score(predictions: Sequence[Prediction], counts: dict[str, list], versions: dict[str, int]) -> dict:
    ids = [p.example_id for p in predictions]
    speakers = [p.speaker for p in predictions]
    summed = {k: stats.sum_by_speaker(ids, speakers, np.array(v, float)) for k, v in counts.items()}
    any_sums = next(iter(summed.values()))
    metrics = {name: (summed[c], rule) for name, (c, rule) in METRICS.items() if c in summed}
    return {
        "versions": versions,
        "n": any_sums.n,
        "items": any_sums.items,
        "metrics": {name: asdict(stats.bootstrap(*metric, rng())) for name, metric in metrics.items()},
        "totals": {name: s.sums.sum(axis=(0, 1)).tolist() for name, s in summed.items()},
        "speakers": list(any_sums.speakers),
        "sums": {name: s.sums[0].tolist() for name, s in summed.items()},
    }


def _answers(predictions: Sequence[Prediction], parse: Parse) -> list[tuple]:
    """Gold and said of every prediction."""
    answers = []
    for prediction in predictions:
        gold = parse(prediction.gold)
        if gold is None:
            raise UserError(
                f"the gold answer of example '{prediction.example_id}' cannot be parsed: "
                f"{prediction.gold!r}; was it made by another task?"
            )
        answers.append((gold, parse(prediction.raw)))
    return answers


def _kind(slot: str, wanted: dict[str, str], filled: dict[str, str], transcript: str) -> str:
    if slot not in filled:
        return "missed"
    value = filled[slot]
    spoken = f" {' '.join(value.lower().split())} " in f" {' '.join(transcript.lower().split())} "
    if slot in wanted and exact_match.same(wanted[slot], value):
        return "correct"
    if any(exact_match.same(other, value) for other in wanted.values()):
        return "wrong slot"
    if slot in wanted:
        return "wrong span" if spoken else "heard wrong"
    return "distractor filled" if spoken else "invented"


def rng() -> np.random.Generator:
    """The same draws for every score, so that a table redrawn is the same table."""
    return np.random.default_rng(0)
