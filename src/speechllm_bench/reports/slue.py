"""The SLUE score of 2509.04473's settings, with its interval, and what each adds to the bare adapter's."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from speechllm_bench import stats
from speechllm_bench.evaluation import score
from speechllm_bench.metrics.slue_score import slue_score
from speechllm_bench.reports.sense import MODELS, SETTINGS, TASKS

CAPTION = (
    "SLUE score, in per cent: ((100 − WER) + NER F1 + sentiment macro F1) / 3 (arXiv 2507.12951, the README "
    "of its repository), with the WER of this corpus. Gains are paired differences to the bare adapter, in "
    "points. In brackets: 95 % interval by bootstrap over speakers and seeds."
)


def slue(rows: list[dict]) -> pd.DataFrame:
    """One row a model and setting that is scored on all three tasks: the SLUE score, and its gain over the
    bare adapter's, in points, each with its interval.

    rows: of `studies.records`. Speakers are drawn once for the three tasks, which one test set was asked.
    Where tasks have test sets of their own, as at `paper`, they cannot be drawn together: there is no row.
    """
    lines = []
    for models, ending in product(MODELS, SETTINGS):
        scores = [_scores(rows, f"{models}{task}{ending}") for task in TASKS]
        base = [_scores(rows, f"{models}{task}") for task in TASKS]
        own = _shared(scores)
        if not own or not _of_one_test_set(scores, own):
            continue
        line = {"model": MODELS[models], "setting": SETTINGS[ending], "seeds": len(own)}
        counted, rule = _counted(scores, own)
        found = stats.bootstrap(counted, rule, score.rng())
        line |= {"SLUE score": stats.with_interval(found.value, found.low, found.high), "gain": "–"}
        if ending and (both := _shared([*scores, *base])):
            pair = [_counted(system, both)[0] for system in (scores, base)]
            found = stats.contrast(pair, [1, -1], rule, score.rng())
            line["gain"] = stats.with_interval(found.value, found.low, found.high, "+")
        lines.append(line)
    return pd.DataFrame(lines)


def _scores(rows: list[dict], variant: str) -> dict[int, dict]:
    return {row["seed"]: row["score"] for row in rows if row["variant"] == variant and row["score"]}


def _shared(systems: list[dict[int, dict]]) -> list[int]:
    """Seeds that all have."""
    return sorted(set.intersection(*map(set, systems)))


def _of_one_test_set(scores: list[dict[int, dict]], seeds: list[int]) -> bool:
    return len({(one[seed]["n"], tuple(one[seed]["speakers"])) for one in scores for seed in seeds}) == 1


def _counted(scores: list[dict[int, dict]], seeds: list[int]) -> tuple[stats.SpeakerSums, stats.Statistic]:
    """The three tasks' counts side by side, (n_seeds, n_speakers, k), and the SLUE score of their sums."""
    metrics = [score.MAIN[task] for task in TASKS]
    parts = [
        stats.stack_seeds([score.speaker_sums(one[seed], metric) for seed in seeds])
        for one, metric in zip(scores, metrics, strict=True)
    ]
    ends = np.cumsum([part.sums.shape[-1] for part in parts])[:-1]

    def rule(sums: np.ndarray) -> np.ndarray:
        split = zip(np.split(sums, ends, axis=-1), metrics, strict=True)
        wer, ner_f1, macro_f1 = (score.METRICS[metric][1](part) for part, metric in split)
        return slue_score([wer], ner_f1, macro_f1)

    items = " ".join(part.items for part in parts)
    sums = np.concatenate([part.sums for part in parts], axis=-1)
    return stats.SpeakerSums(parts[0].n, items, parts[0].speakers, sums), rule
