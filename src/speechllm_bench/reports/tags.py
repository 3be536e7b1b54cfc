"""F1 of named entities by tag: what all entities together hide of rare ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from speechllm_bench import stats
from speechllm_bench.data.tasks import ner
from speechllm_bench.evaluation import score
from speechllm_bench.metrics import f1, ner_f1
from speechllm_bench.reports.predictions import predictions
from speechllm_bench.schema import Prediction

RARE = 0.02  # of all gold entities: a tag that has fewer is rare


def f1_by_tag(rows: list[dict]) -> pd.DataFrame:
    """One row a variant, one column a tag with how often it is gold, rarest first; seeds are summed.

    rows: of `studies.records`; those that were asked for entities and have a score. Entities match as in
    `metrics.ner_f1`, within their tag.
    """
    answers = _answers(rows)
    often = _often(answers)
    lines = {}
    for variant, seeds in answers.items():
        said = [prediction for seed in seeds.values() for prediction in seed]
        lines[variant] = {
            f"{tag} ({n})": float(f1(np.sum([_counts(one, {tag}) for one in said], axis=0)))
            for tag, n in reversed(often.most_common())
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def f1_of_rare_tags(rows: list[dict], baseline: str) -> pd.DataFrame:
    """One row a variant: F1 over the entities of all rare tags together, and its paired difference to the
    baseline, with intervals. With a handful of entities these are wide, which is the point of them.

    rows: as of `f1_by_tag`. Empty where no tag is rare.
    """
    answers = _answers(rows)
    often = _often(answers)
    rare = {tag for tag, n in often.items() if n < RARE * often.total()}
    if not rare:
        return pd.DataFrame()
    named = f"{', '.join(sorted(rare))}: {sum(often[tag] for tag in rare)} entities"
    sums = {
        variant: {seed: _by_speaker(said, rare) for seed, said in seeds.items()}
        for variant, seeds in answers.items()
    }
    lines = []
    for variant, own in sums.items():
        found = stats.bootstrap(stats.stack_seeds(list(own.values())), f1, score.rng())
        line = {"variant": variant, f"F1 of {named}": stats.with_interval(found.value, found.low, found.high)}
        both = sorted(own.keys() & sums.get(baseline, {}).keys())
        line[f"difference to {baseline}"] = "–"
        if both and variant != baseline:
            pair = [stats.stack_seeds([one[seed] for seed in both]) for one in (own, sums[baseline])]
            found = stats.contrast(pair, [1, -1], f1, score.rng())
            line[f"difference to {baseline}"] = stats.with_interval(found.value, found.low, found.high, "+")
        lines.append(line)
    return pd.DataFrame(lines)


def _answers(rows: list[dict]) -> dict[str, dict[int, list[Prediction]]]:
    """By variant and seed: answers of the runs that were asked for entities and have a score."""
    found: dict[str, dict[int, list[Prediction]]] = {}
    for row in rows:
        if row["score"] and row["run"].config.evaluation.task == "ner":
            found.setdefault(row["variant"], {})[row["seed"]] = list(predictions(row["run"]))
    return found


def _often(answers: dict[str, dict[int, list[Prediction]]]) -> Counter[str]:
    """How often each tag is gold in one run's answers: all runs were asked the same."""
    first = next((said for seeds in answers.values() for said in seeds.values()), [])
    return Counter(tag for prediction in first for tag, _ in ner.parse(prediction.gold))


def _by_speaker(said: list[Prediction], tags: set[str]) -> stats.SpeakerSums:
    counts = np.array([_counts(one, tags) for one in said], float)
    return stats.sum_by_speaker([p.example_id for p in said], [p.speaker for p in said], counts)


def _counts(prediction: Prediction, tags: set[str]) -> tuple[float, ...]:
    """`ner_f1.counts` of the entities with these tags."""
    gold, said = (ner.parse(text) or () for text in (prediction.gold, prediction.raw))
    return ner_f1.counts(*([e for e in some if e[0] in tags] for some in (gold, said)))
