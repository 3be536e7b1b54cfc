"""A run's stored predictions."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

from speechllm_bench import sealed
from speechllm_bench.errors import UserError
from speechllm_bench.schema import Prediction
from speechllm_bench.studies import Run


def predictions(run: Run) -> list[Prediction]:
    """All answers of a run, in the order of its test set."""
    file = run.folder / "predictions.jsonl.gz"
    if not file.is_file():
        raise UserError(f"{run.name} has no predictions; delete its folder and run it again")
    remedy = f"delete its folder and run {run.name} again"
    if (record := run.folder / "run.json").is_file():
        sealed.read(record, remedy)
    return read_predictions(file, remedy)


def read_predictions(file: Path, remedy: str) -> list[Prediction]:
    """All answers in a file; UserError, with the remedy, where it is missing or damaged."""
    if not file.is_file():
        raise UserError(f"{file} is missing; {remedy}")
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            found = [Prediction.from_json(json.loads(line)) for line in lines]
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, TypeError, KeyError):
        found = []  # cut short, another file, or damaged: of the packing, the JSON or a record
    if not found:
        raise UserError(f"{file} is damaged; {remedy}")
    return found
