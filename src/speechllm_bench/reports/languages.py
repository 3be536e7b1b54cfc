"""One model in several languages: its main metric in each. Variants have a value on the axis `language`."""

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
    systems: dict[str, list[Result]] = {}
    for row in rows:
        system = ", ".join(key for axis, key in row["axes"].items() if axis != "language")
        systems.setdefault(system, []).append(row)
    lines = []
    for system, own in systems.items():
        mine = [row["score"] for row in own if row["score"]]
        line = {"system": system, "metric": score.main_metric(mine[0]) if mine else ""}
        said = {row["axes"].get("language"): row["variant"] for row in own}
        for language, name in NAMES.items():
            found = tables.main_metric(own, said[language]) if language in said else None
            line[name] = with_interval(found.value, found.low, found.high) if found else ""
        lines.append(line)
    return pd.DataFrame(lines, columns=["system", "metric", *NAMES.values()])
