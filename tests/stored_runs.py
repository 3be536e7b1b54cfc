"""Runs of the toy suite on disk, as a report reads them: real scores of made-up answers."""

from __future__ import annotations

import json

from speechllm_bench.evaluation import score
from speechllm_bench.planning import studies
from speechllm_bench.storage import runs, sealed
from speechllm_bench.storage.schema import Prediction

GOLD = {"city": "york"}
ENVIRONMENT = {"commit": "abc123", "uncommitted_changes": False, "processor": "a chip"}


def store(variant: str, seed: int, right: int | None, profile: str = "mini") -> None:
    """A run of adapter_size with `right` of 20 answers right, of 10 speakers; diverged without."""
    run = studies.run("adapter_size", variant, seed, profile)
    status = "diverged" if right is None else "ok"
    sealed.write(run.folder / "run.json", record(run, status, 1234567 * len(variant)), {})
    if right is not None:
        runs.write_json(run.folder / "score.json", scored(right))


def record(run: studies.Run, status: str, trained_parameters: int) -> dict:
    """What run.json has of a run, as far as reports read it."""
    return {
        "digest": run.digest,
        "status": status,
        "config": run.config.as_stored(),
        "seed": run.seed,
        "device_kind": "cpu",
        "precision": "fp32",
        "trained_parameters": trained_parameters,
        "llm_parameters": 3_000_000,
        "total_parameters": 8_000_000,
        "speech_hours": 12.5,
        "text_tokens": 900_000,
        "wall_seconds": 60.0 + run.seed,
        "environment": ENVIRONMENT,
    }


def scored(right: int) -> dict:
    """The score of 20 answers, of which the first `right` are right and the others empty."""
    said = [GOLD if i < right else {} for i in range(20)]
    rows = [
        Prediction(f"u{i}", f"u{i}", f"s{i % 10}", "slots", json.dumps(a), json.dumps(GOLD), (), 1, "york")
        for i, a in enumerate(said)
    ]
    return score.score_task("slots", rows, json.loads)
