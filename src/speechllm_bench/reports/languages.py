"""One model in several languages: its main metric in each. A variant is a system and a language, `ner_es`."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from speechllm_bench.evaluation import score
from speechllm_bench.reports import tables
from speechllm_bench.stats import with_interval
from speechllm_bench.studies import Result

NAMES = {"en": "English", "es": "Spanish", "fr": "French"}


def by_language(rows: Sequence[Result]) -> pd.DataFrame:
    """One row a system: its metric and the value in each language, "" where it has no score.

    rows: of `studies.records`. Test sets differ between languages in more than the language: values stand
    beside each other, and are not to be subtracted.
    """
    systems = list(dict.fromkeys(row["variant"].rsplit("_", 1)[0] for row in rows))
    lines = []
    for system in systems:
        mine = [row["score"] for row in rows if row["score"] and row["variant"].rsplit("_", 1)[0] == system]
        line = {"system": system, "metric": score.main_metric(mine[0]) if mine else ""}
        for language, name in NAMES.items():
            found = tables.main_metric(rows, f"{system}_{language}")
            line[name] = with_interval(found.value, found.low, found.high) if found else ""
        lines.append(line)
    return pd.DataFrame(lines, columns=["system", "metric", *NAMES.values()])
