"""F1 of named entities by tag: what all entities together hide of rare ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from speechllm_bench import stats
from speechllm_bench.evaluation import score, seeds
from speechllm_bench.metrics import f1, ner_f1
from speechllm_bench.reports.predictions import predictions
from speechllm_bench.studies import Result
from speechllm_bench.tasks import ner

RARE = 0.02  # of all gold entities: a tag that has fewer is rare


CAPTION = (
    "F1 of named entities by tag, rarest first, with how often gold has each, over the answers of all "
    "seeds. 0.000: a tag that is never found."
)


class _Answer(NamedTuple):
    """One answer's entities, parsed once for all tags."""

    id: str
    speaker: str
    gold: list[tuple[str, str]]
    said: list[tuple[str, str]]

    def counts(self, tags: set[str]) -> tuple[float, ...]:
        """`ner_f1.counts` of the entities with these tags."""
        return ner_f1.counts(*([e for e in some if e[0] in tags] for some in (self.gold, self.said)))


def f1_by_tag(rows: Sequence[Result]) -> pd.DataFrame:
    """One row a variant, one column a tag with how often it is gold, rarest first; seeds are summed.

    rows: of `studies.records`; those that were asked for entities and have a score. Entities match as in
    `metrics.ner_f1`, within their tag.
    """
    answers = _answers(rows)
    often = _often(answers)
    lines = {}
    for variant, own in answers.items():
        said = [answer for of_seed in own.values() for answer in of_seed]
        lines[variant] = {
            f"{tag} ({n})": float(f1(np.sum([one.counts({tag}) for one in said], axis=0)))
            for tag, n in reversed(often.most_common())
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def table(rows: Sequence[Result]) -> pd.DataFrame:
    """`f1_by_tag` as text, with the variants in a column; empty where nothing was asked for entities."""
    found = f1_by_tag(rows)
    return found.map("{:.3f}".format).rename_axis("variant").reset_index() if len(found) else found


def f1_of_rare_tags(rows: Sequence[Result], baseline: str) -> pd.DataFrame:
    """One row a variant: how often it says a rare tag, F1 over the entities of all these tags together, and
    its paired difference to the baseline, with intervals. With a handful of entities they are wide, which is
    the point of them. Two variants that never say such a tag have no difference: nothing was tested.

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
    labelled = {  # counts are (found, said, gold)
        variant: int(sum(seed.sums[..., 1].sum() for seed in own.values())) for variant, own in sums.items()
    }
    lines = []
    for variant, own in sums.items():
        between = seeds.pooled("ner_f1")
        found = stats.contrast([stats.stack_seeds(list(own.values()))], [1], f1, score.rng(), between)
        found = stats.within(found, 0, 1)
        line = {"variant": variant, "labels said": labelled[variant]}
        line |= {f"F1 of {named}": stats.with_interval(found.value, found.low, found.high)}
        both = sorted(own.keys() & sums.get(baseline, {}).keys())
        line[f"difference to {baseline}"] = "–"
        if both and variant != baseline and labelled[variant] + labelled[baseline]:
            pair = [stats.stack_seeds([one[seed] for seed in both]) for one in (own, sums[baseline])]
            found = stats.contrast(pair, [1, -1], f1, score.rng(), between and 2 * between)
            line[f"difference to {baseline}"] = stats.with_interval(found.value, found.low, found.high, "+")
        lines.append(line)
    return pd.DataFrame(lines)


def _answers(rows: Sequence[Result]) -> dict[str, dict[int, list[_Answer]]]:
    """By variant and seed: answers of the runs that were asked for entities and have a score."""
    found: dict[str, dict[int, list[_Answer]]] = {}
    for row in rows:
        if row["score"] and row["run"].config.evaluation.task == ner.NAME:
            found.setdefault(row["variant"], {})[row["seed"]] = [
                _Answer(p.example_id, p.speaker, ner.parse(p.gold) or [], ner.parse(p.raw) or [])
                for p in predictions(row["run"])
            ]
    return found


def _often(answers: dict[str, dict[int, list[_Answer]]]) -> Counter[str]:
    """How often each tag is gold in one run's answers: all runs were asked the same."""
    first = next((said for seeds in answers.values() for said in seeds.values()), [])
    return Counter(tag for answer in first for tag, _ in answer.gold)


def _by_speaker(said: list[_Answer], tags: set[str]) -> stats.SpeakerSums:
    counts = np.array([one.counts(tags) for one in said], float)
    return stats.sum_by_speaker([one.id for one in said], [one.speaker for one in said], counts)
