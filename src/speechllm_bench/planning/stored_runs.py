"""Stored runs as reports read them: scores by seed, answers, curves, and runs by digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechllm_bench.errors import UserError
from speechllm_bench.planning import places, studies
from speechllm_bench.planning.studies import Result, Run
from speechllm_bench.storage import runs, sealed
from speechllm_bench.storage.numbers import Row
from speechllm_bench.storage.outputs import read_predictions
from speechllm_bench.storage.schema import Prediction

Scores = dict[int, dict]
"""Seed -> score, for the runs of a variant that have one."""


def scores_of(rows: Sequence[Result], variant: str) -> Scores:
    """Return seed -> score, for the rows of a variant that have one."""
    return {row["seed"]: row["score"] for row in rows if row["variant"] == variant and row["score"]}


def scored_variants(rows: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the scored rows of each variant, in the study's order. Variants without a score are left out."""
    found: dict[str, list[Result]] = {}
    for row in rows:
        if row["score"]:
            found.setdefault(row["variant"], []).append(row)
    return found


def shared_seeds(systems: Iterable[Scores]) -> list[int]:
    return sorted(set.intersection(*map(set, systems)))


def comparable(own: Scores, base: Scores) -> list[int]:
    """Return the seeds that both have and on which both answered the same questions."""
    return [seed for seed in shared_seeds([own, base]) if own[seed]["items"] == base[seed]["items"]]


def predictions(run: Run) -> list[Prediction]:
    """Return all answers of a run, in the order of its test set. UserError if missing or damaged."""
    file, remedy = run.folder / "predictions.jsonl.gz", f"delete its folder and run {run.name} again"
    if not file.is_file():
        raise UserError(f"{run.name} has no predictions; delete its folder and run it again")
    if (record := run.folder / "run.json").is_file():
        sealed.read(record, remedy)
    return read_predictions(file, remedy)


def curve_file(row: Result) -> Path | None:
    """Return the file of a run's curve. None where it has none."""
    file = None if row["record"] is None else row["run"].folder / "curve.csv"
    return file if file and file.is_file() else None


@dataclass(frozen=True, eq=False)
class StoredRun:
    """The record of a run, and its score as reports read it. The score is None for a diverged run."""

    digest: str
    folder: Path
    record: dict
    score: Any  # score.json as it is shown; None where there is none

    @property
    def config(self) -> dict:
        return self.record["config"]

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def stage(self) -> str | None:
        """Return the digest of the last stage of the model's training. None where nothing was trained."""
        return self.record["stages"][-1] if self.record.get("stages") else None

    def predictions(self) -> list[Prediction]:
        return read_predictions(self.folder / "predictions.jsonl.gz", runs.DELETE_FOLDER)


def runs_of(row: Row, profile: str) -> list[StoredRun]:
    """Return the runs of a row that are on disk, in the order of their seeds."""
    folders = {digest: places.run_folder(profile, digest) for digest in row.runs}
    found = [_stored(d, f, profile) for d, f in folders.items() if (f / "run.json").is_file()]
    return sorted(found, key=lambda one: one.seed)


def alike(some: Sequence[StoredRun]) -> list[StoredRun]:
    """Return the runs with a score that answered the same questions as the first of them."""
    scored = [one for one in some if one.score]
    return [one for one in scored if one.score["items"] == scored[0].score["items"]]


def _stored(digest: str, folder: Path, profile: str) -> StoredRun:
    record = sealed.read(folder / "run.json", runs.DELETE_FOLDER)
    found = StoredRun(digest, folder, record, None)
    if record["status"] != "ok":
        return found
    asked = record["config"]["evaluation"]
    score = studies.shown_score(folder, found.stage, asked["audio"], asked["task"], profile)
    return StoredRun(digest, folder, record, score)
