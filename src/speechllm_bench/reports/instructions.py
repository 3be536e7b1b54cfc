"""How well the speech instruction tasks are answered, question by question, beside what guessing gives."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from speechllm_bench.evaluation import score
from speechllm_bench.studies import Result


def answers(rows: Sequence[Result]) -> pd.DataFrame:
    """One row a variant that was asked such questions: accuracy with its interval, and accuracy by question.

    rows: of `studies.records`. A last row a task, `commonest answer`, says how often the commonest gold
    answer to each question is the right one. Shares over all seeds; empty where nothing was asked.
    """
    lines, guesses = [], {}
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == variant and "answers" in (row["score"] or ())]
        if not mine:
            continue
        found, task = [row["score"] for row in mine], mine[0]["run"].config.evaluation.task
        accuracy = score.interval(found, "accuracy")
        lines.append(
            {"variant": variant, "task": task, "accuracy": accuracy.value, "low": accuracy.low}
            | {"high": accuracy.high, **_shares(found, "right")}
        )
        guesses[task] = {"variant": "commonest answer", "task": task, **_shares(found, "commonest")}
    return pd.DataFrame([*lines, *guesses.values()])


def _shares(scores: list[dict], what: str) -> dict[str, float]:
    """By question, of all its answers."""
    kinds = {asks: [s["answers"][asks] for s in scores] for asks in scores[0]["answers"]}
    return {asks: sum(k[what] for k in some) / sum(k["n"] for k in some) for asks, some in kinds.items()}
