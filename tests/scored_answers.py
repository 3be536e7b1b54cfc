"""Scores of a few answers, of which a chosen number is right."""

from __future__ import annotations

import json
from types import SimpleNamespace

from speechllm_bench.evaluation import score
from speechllm_bench.storage.schema import Prediction

RIGHT, WRONG = (json.dumps({"city": city}) for city in ("rome", "oslo"))


def scored(right: int, n: int = 20) -> dict:
    """The score of n answers of ten speakers, the first `right` of them correct."""
    rows = [
        Prediction(f"e{i}", f"u{i}", f"s{i % 10}", "slots", RIGHT if i < right else WRONG,
                   RIGHT, ("city",), 3, "to rome")
        for i in range(n)
    ]  # fmt: skip
    return score.score_task("slots", rows)


def claiming(claims):
    """What `claims.verdicts` needs of a study: its claims, on a metric of which more is better."""
    return SimpleNamespace(claims=claims, compared=lambda claim: claim.difference({}, lower_is_better=False))
