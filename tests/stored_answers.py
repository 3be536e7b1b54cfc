"""Runs of the toy suite with answers of every kind: what pages of the site are made of."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path

from stored_runs import record

from speechllm_bench.evaluation import score
from speechllm_bench.planning import studies
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.schema import CURVE_COLUMNS, Prediction

VARIANTS, SEEDS, TURNS, SPEAKERS = ("mlp", "cnn", "linear", "no_audio"), (0, 1), 60, 8
LEDGER = paths.PROJECT / "experiments" / "papers" / "claims.yaml"


def store(suite: Path) -> Path:
    """The home of a suite, once its runs of `VARIANTS` are stored with predictions and curves."""
    (suite / "experiments" / "papers").mkdir()
    shutil.copy(LEDGER, suite / "experiments" / "papers")
    for i, variant in enumerate(VARIANTS):
        for seed in SEEDS if variant != "no_audio" else SEEDS[:1]:
            _store(variant, seed, share=0.3 + 0.15 * i)
    return suite


def _store(variant: str, seed: int, share: float) -> None:
    run = studies.run("adapter_size", variant, seed, "mini")
    rng = random.Random(f"{variant} {seed}")
    said = [_prediction(i, rng, share) for i in range(TURNS)]
    runs.write_json(run.folder / "score.json", score.score_task("slots", said))
    with gzip.open(run.folder / "predictions.jsonl.gz", "wt") as lines:
        lines.writelines(json.dumps(p.to_json()) + "\n" for p in said)
    if run.stages:
        points = [
            f"slots,{n},{8 * n},validation,{m},{share + n / 100}" for n in (1, 2) for m in ("loss", "f1")
        ]
        (run.folder / "curve.csv").write_text("\n".join([",".join(CURVE_COLUMNS), *points, ""]))
    about = record(run, "ok", 1000 * len(variant) if run.stages else 0)
    sealed.write(run.folder / "run.json", about | {"stages": list(run.stages)}, {})


def _prediction(i: int, rng: random.Random, share: float) -> Prediction:
    """A turn of 3 to 14 words; of its two slots each is right, half right, wrong or missed."""
    words = [
        "the",
        "old",
        "city",
        "of",
        "new",
        "york",
        "is",
        "where",
        "we",
        "were",
        "in",
        "may",
        "or",
        "june",
    ]
    gold = {"incident city": "new york", "callback time": "may"}
    answers = {"incident city": ["york", "leeds", None], "callback time": ["june", "in may", None]}
    said = {
        slot: value if rng.random() < share else rng.choice(answers[slot]) for slot, value in gold.items()
    }
    raw = json.dumps({slot: value for slot, value in said.items() if value}) if rng.random() < 0.95 else "{"
    return Prediction(
        f"u{i}/slots", f"u{i}", f"s{i % SPEAKERS}", "slots", raw, json.dumps(gold),
        ("incident_city", "callback_time"), 9, " ".join(words[: 3 + i % 12]),
    )  # fmt: skip
