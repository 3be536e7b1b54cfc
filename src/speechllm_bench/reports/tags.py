"""F1 of named entities by tag: what all entities together hide of rare ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from speechllm_bench.data.tasks import ner
from speechllm_bench.metrics import f1, ner_f1
from speechllm_bench.reports.predictions import predictions


def f1_by_tag(rows: list[dict]) -> pd.DataFrame:
    """One row a variant, one column a tag with how often it is gold, rarest first; seeds are summed.

    rows: of `studies.records`; those that were asked for entities and have a score. Entities match as in
    `metrics.ner_f1`, within their tag.
    """
    sums: dict[str, dict[str, np.ndarray]] = {}  # by variant, then by tag: found, predicted, gold
    often: Counter[str] = Counter()
    for row in rows:
        if not row["score"] or row["run"].config.evaluation.task != "ner":
            continue
        of_variant = sums.setdefault(row["variant"], {})
        seen: Counter[str] = Counter()
        for prediction in predictions(row["run"]):
            gold, said = (ner.parse(text) for text in (prediction.gold, prediction.raw))
            seen.update(tag for tag, _ in gold)
            for tag in {tag for tag, _ in (*gold, *(said or ()))}:
                counted = ner_f1.counts(*([e for e in some or () if e[0] == tag] for some in (gold, said)))
                of_variant[tag] = of_variant.get(tag, 0) + np.array(counted, float)
        often = often or seen
    tags = [tag for tag, _ in reversed(often.most_common())]
    nothing = np.zeros(3)
    lines = {
        variant: {f"{tag} ({often[tag]})": float(f1(counted.get(tag, nothing))) for tag in tags}
        for variant, counted in sums.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index")
