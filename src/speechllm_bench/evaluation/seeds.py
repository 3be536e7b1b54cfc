"""Variance of a metric between seeds, pooled over the suite's own records (protocol, rule 13).

A row with one seed cannot show the variance between seeds. So the variances of systems with several seeds are
pooled by metric. `tools/seed_variance.py` computes them from `results/mini` and writes them to
`seed_variance.json`. Rows of every profile use them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from speechllm_bench.evaluation import versions
from speechllm_bench.tasks import METRICS

FILE = "seed_variance.json"


def marked(score: dict, training: str | None, audio: str) -> dict:
    """Return a stored score with the two properties that determine its variance between seeds.

    training: what tells the model's last training stage from every other; None if nothing was trained.
    audio: own, or other if the model hears another turn.
    """
    return score | {"training": training, "audio": audio}


@cache
def table() -> dict:
    """Return the stored variances by metric for `own` and `other` audio, and what they are pooled over."""
    return json.loads(files(__package__).joinpath(FILE).read_text("utf-8"))


def pooled(metric: str, audio: str = "own") -> float | None:
    """Return the variance of one system's metric between seeds; None if it is not known.

    A metric without a variance of its own uses that of the metric in `Metric.varies_as`.
    """
    found = table()[audio]
    known = found.get(metric) or found.get(METRICS[metric].varies_as if metric in METRICS else None)
    return known and known["variance"]


def variance(
    scores: Sequence[Mapping], weights: Sequence[float], metric: str, *, n_seeds: int
) -> float | None:
    """Return the variance between seeds of a weighted sum of systems' metrics; None if it is not known.

    scores: one per system, from `marked`; an unmarked one counts as a training of its own. Different
    trainings vary independently. Evaluations of one training vary together, except for the share
    `share_of_an_evaluation` of the variance, which is independent.

    With one seed, a metric that is not known with other audio uses its variance with own audio. Otherwise the
    interval would lack the variance between seeds.
    """
    alone = table()["share_of_an_evaluation"]
    trainings: dict[tuple, list[tuple[float, float]]] = {}
    for i, (score, weight) in enumerate(zip(scores, weights, strict=True)):
        audio = score.get("audio", "own")
        training = score.get("training", f"unknown {i}")
        name = versions.stored_name(metric, score)
        one = 0.0 if training is None else pooled(name, audio)
        if one is None and n_seeds == 1:
            one = pooled(name)
        if one is None:
            return None
        trainings.setdefault((training, audio), []).append((weight, one))
    total = 0.0
    for parts in trainings.values():
        together = sum(weight for weight, _ in parts) ** 2
        total += parts[0][1] * ((1 - alone) * together + alone * sum(weight**2 for weight, _ in parts))
    return total
