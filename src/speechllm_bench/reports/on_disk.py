"""Stored runs behind the rows of a table, read without their backbones: rows name them by digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechllm_bench import numbers, places, runs, sealed, studies
from speechllm_bench.numbers import Row
from speechllm_bench.reports import study as reports
from speechllm_bench.reports.predictions import read_predictions
from speechllm_bench.schema import Prediction


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run's record, and its score as reports read it; None of a run that diverged."""

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
        """The digest of the last stage that made the model."""
        return self.record["stages"][-1] if self.record.get("stages") else None

    def predictions(self) -> list[Prediction]:
        return read_predictions(self.folder / "predictions.jsonl.gz", runs.DELETE_FOLDER)


def rows(study: str, profile: str) -> list[Row]:
    """The numbers of a study: those that the last report wrote, or the same made anew."""
    found = [row for row in numbers.read(profile).values() if row.study == study]
    return found or reports.numbered(study, profile)


def runs_of(row: Row, profile: str) -> list[StoredRun]:
    """The runs of a row that are on disk, in the order of their seeds."""
    folders = {digest: places.run_folder(profile, digest) for digest in row.runs}
    found = [_stored(d, f, profile) for d, f in folders.items() if (f / "run.json").is_file()]
    return sorted(found, key=lambda one: one.seed)


def alike(some: Sequence[StoredRun]) -> list[StoredRun]:
    """Those with a score that answered what the first of them did."""
    scored = [one for one in some if one.score]
    return [one for one in scored if one.score["items"] == scored[0].score["items"]]


def told_apart(labels: Iterable[str]) -> list[str]:
    """Labels of test sets, in order; of those that are alike the later ones are numbered."""
    seen: Counter[str] = Counter()
    shown = []
    for label in labels:
        seen[label] += 1
        shown.append(label if seen[label] == 1 else f"{label}, {seen[label]}")
    return shown


def _stored(digest: str, folder: Path, profile: str) -> StoredRun:
    record = sealed.read(folder / "run.json", runs.DELETE_FOLDER)
    found = StoredRun(digest, folder, record, None)
    if record["status"] != "ok":
        return found
    asked = record["config"]["evaluation"]
    score = studies.shown_score(folder, found.stage, asked["audio"], asked["task"], profile)
    return StoredRun(digest, folder, record, score)
