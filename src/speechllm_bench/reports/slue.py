"""The SLUE score of 2509.04473's settings, with its interval, and what each adds to the bare adapter's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from speechllm_bench import stats
from speechllm_bench.evaluation import score, seeds
from speechllm_bench.experiments import Study
from speechllm_bench.metrics.slue_score import slue_score
from speechllm_bench.reports import looks
from speechllm_bench.reports.sense import BARE, MAIN, TASKS, compared
from speechllm_bench.studies import Result
from speechllm_bench.tasks import METRICS

CAPTION = (
    "SLUE score, in per cent: ((100 − WER) + NER F1 + sentiment macro F1) / 3 (arXiv 2507.12951, the README "
    "of its repository). WER is of what the study transcribes. Gains are paired differences to the adapter "
    "alone, in points. In brackets: 95 % interval by bootstrap over speakers and seeds."
)


def slue(study: Study, rows: Sequence[Result]) -> pd.DataFrame:
    """One row a model and setting that is scored on all three tasks: the SLUE score, and its gain over the
    bare adapter's, in points, each with its interval.

    rows: of `studies.records`. Speakers are drawn once for tasks that one test set was asked, and apart for
    tasks with test sets of their own, as they are at `paper`.
    """
    models, settings = (looks.of_axis(study, axis) for axis in ("model", "setting"))
    lines, variants = [], compared(rows)
    for (model, setting), asked in variants.items():
        scores = [_scores(rows, asked[task]) for task in TASKS]
        base = [_scores(rows, variants[model, BARE][task]) for task in TASKS]
        if not (own := _shared(scores)):
            continue
        line = {"model": models[model].label, "setting": settings[setting].label, "seeds": len(own)}
        counted, rule = _counted(scores, own)
        between = _between_seeds()
        found = stats.contrast_of_test_sets([counted], [1], rule, score.rng(), between)
        found = stats.within(found, -np.inf, 100)
        line |= {"SLUE score": stats.with_interval(found.value, found.low, found.high), "gain": "–"}
        if setting != BARE and (both := _shared([*scores, *base])):
            pair = [_counted(system, both)[0] for system in (scores, base)]
            found = stats.contrast_of_test_sets(pair, [1, -1], rule, score.rng(), 2 * between)
            line["gain"] = stats.with_interval(found.value, found.low, found.high, "+")
        lines.append(line)
    return pd.DataFrame(lines)


def _between_seeds() -> float:
    """Variance of a SLUE score between seeds, in squared points: of three trainings that vary apart."""
    return (100 / 3) ** 2 * sum(seeds.pooled(MAIN[task].name) or 0.0 for task in TASKS)


def _scores(rows: Sequence[Result], variant: str) -> dict[int, dict]:
    return {row["seed"]: row["score"] for row in rows if row["variant"] == variant and row["score"]}


def _shared(systems: list[dict[int, dict]]) -> list[int]:
    """Seeds that all have."""
    return sorted(set.intersection(*map(set, systems)))


def _counted(
    scores: list[dict[int, dict]], seeds: list[int]
) -> tuple[list[stats.SpeakerSums], stats.Statistic]:
    """The tasks' counts, side by side where one test set was asked: (n_seeds, n_speakers, k) a test set; and
    the SLUE score of all of them side by side.
    """
    metrics = [MAIN[task].name for task in TASKS]
    test_sets: dict[tuple, list[tuple[str, stats.SpeakerSums]]] = {}
    for one, metric in zip(scores, metrics, strict=True):
        part = stats.stack_seeds([score.speaker_sums(one[seed], metric) for seed in seeds])
        test_sets.setdefault((part.n, part.speakers), []).append((metric, part))
    order = [metric for parts in test_sets.values() for metric, _ in parts]
    widths = [part.sums.shape[-1] for parts in test_sets.values() for _, part in parts]
    ends = np.cumsum(widths)[:-1]

    def rule(sums: np.ndarray) -> np.ndarray:
        split = zip(order, np.split(sums, ends, axis=-1), strict=True)
        found = {metric: METRICS[metric].rule(part) for metric, part in split}
        wer, ner_f1, macro_f1 = (found[metric] for metric in metrics)
        return slue_score([wer], ner_f1, macro_f1)

    return [stats.side_by_side([part for _, part in parts]) for parts in test_sets.values()], rule
