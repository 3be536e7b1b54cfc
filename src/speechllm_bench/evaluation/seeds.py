"""Variance of a metric between seeds, pooled over the suite's own records (protocol, rule 13).

A row of one seed cannot say how far another seed would lie from it. Rows of the same system with several
seeds can, so their variances are pooled by metric and stored in `seed_variance.json`, which
`tools/seed_variance.py` writes from `results/mini`. Rows of every profile take it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from speechllm_bench.tasks import METRICS

FILE = "seed_variance.json"


def marked(score: dict, training: str | None, audio: str) -> dict:
    """A stored score with what decides its variance between seeds.

    training: the digest of the last stage that made the model; None where nothing was trained. audio: own,
    or other, where the model hears another turn.
    """
    return score | {"training": training, "audio": audio}


@cache
def table() -> dict:
    """The stored variances: `own` and `other` audio by metric, and what they were pooled over."""
    return json.loads(files(__package__).joinpath(FILE).read_text("utf-8"))


def pooled(metric: str, audio: str = "own") -> float | None:
    """Variance of one system's metric between seeds, or of that which stands for it (`Metric.varies_as`);
    None where no record tells it."""
    found = table()[audio]
    known = found.get(metric, found.get(METRICS[metric].varies_as))
    return known and known["variance"]


def variance(scores: Sequence[Mapping], weights: Sequence[float], metric: str) -> float | None:
    """Variance between seeds of a weighted sum of systems' metrics; None where no record tells it.

    scores: one a system, as `marked` gives them; an unmarked one counts as a training of its own. Trainings
    vary apart from one another. Evaluations of one training vary together, but for the share that the
    records give.
    """
    alone = table()["share_of_an_evaluation"]
    trainings: dict[tuple, list[tuple[float, float]]] = {}
    for i, (score, weight) in enumerate(zip(scores, weights, strict=True)):
        audio = score.get("audio", "own")
        training = score.get("training", f"unknown {i}")
        one = 0.0 if training is None else pooled(metric, audio)
        if one is None:
            return None
        trainings.setdefault((training, audio), []).append((weight, one))
    total = 0.0
    for parts in trainings.values():
        together = sum(weight for weight, _ in parts) ** 2
        total += parts[0][1] * ((1 - alone) * together + alone * sum(weight**2 for weight, _ in parts))
    return total
