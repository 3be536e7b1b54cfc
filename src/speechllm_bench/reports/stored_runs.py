"""Stored runs as reports read them: scores by seed, answers, curves, trainings, and runs by digest."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from speechllm_bench.errors import UserError
from speechllm_bench.planning import places, studies
from speechllm_bench.planning.studies import Result, Run
from speechllm_bench.storage import runs, sealed
from speechllm_bench.storage.numbers import Row
from speechllm_bench.storage.schema import CURVE_COLUMNS, SECONDS, Prediction

LATER = "f1_v2"
"""A metric that older curves lack, so a difference in it does not mean another training."""

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


def kinds(rows: Sequence[Result], key: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return the counts under a key of the scores, summed over seeds: one row per variant that has any."""
    counts: dict[str, Counter] = {}
    for row in rows:
        if row["score"] and key in row["score"]:
            counts.setdefault(row["variant"], Counter()).update(row["score"][key])
    frame = pd.DataFrame.from_dict(counts, orient="index", columns=list(columns), dtype=int)
    return frame.rename_axis("variant")


def shared_seeds(systems: Iterable[Scores]) -> list[int]:
    """Return the seeds that all systems have."""
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


def read_predictions(file: Path, remedy: str) -> list[Prediction]:
    """Return all answers in a file. UserError, with the remedy, where it is missing or damaged."""
    if not file.is_file():
        raise UserError(f"{file} is missing; {remedy}")
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            found = [Prediction.from_json(json.loads(line)) for line in lines]
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, RecursionError, TypeError, KeyError):
        found = []  # cut short, another file, or damaged compression, JSON or records
    if not found:
        raise UserError(f"{file} is damaged; {remedy}")
    return found


def read_curve(file: Path, version: int = 1) -> pd.DataFrame:
    """Return a run's curve, in which `f1` is partial match of this version. UserError for any other file."""
    try:
        curve = pd.read_csv(io.StringIO(curve_text(file)))
    except ValueError:  # pandas' parser errors are ValueErrors
        raise UserError(f"{file} is damaged; delete its folder and run again") from None
    if tuple(columns := curve.columns) != CURVE_COLUMNS:
        raise UserError(f"{file} is not a curve (columns: {list(columns)}); delete its folder and run again")
    other = "f1" if version == 2 else LATER
    return curve[curve["metric"] != other].replace({"metric": {LATER: "f1"}}).reset_index(drop=True)


def curve_text(file: Path) -> str:
    """Return the text of a curve file. UserError for a cut last line, which could show a wrong value."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.endswith("\n"):
        raise UserError(f"{file} is damaged or cut short; delete its folder and run again")
    return text


def curve_file(row: Result) -> Path | None:
    """Return the file of a run's curve. None where it has none."""
    file = None if row["record"] is None else row["run"].folder / "curve.csv"
    return file if file and file.is_file() else None


class Again(NamedTuple):
    """A stage that was trained more than once for one seed."""

    sentence: str  # for the caption
    trainings: list[str]  # for a list below the table: one item per training


LISTED = "The list below the table says for which variants, and where each training ended."


def trained_again(rows: Sequence[Result]) -> list[Again]:
    """Return an entry for each stage that was trained again for the same seed, with another result.

    Weights of stages are not stored with the records. A later run that finds no weights trains the stage
    again with the same settings. On another machine the result differs slightly, and so do the rows that
    build on it. Trainings are told apart by their curves.
    """
    ends: dict[tuple[str, str], dict[tuple, tuple[list[str], str]]] = {}  # stage -> curve -> variants, ends
    for row in rows:
        if not (file := curve_file(row)):
            continue
        lines = curve_text(file).splitlines()  # parsing as text is fast enough for all studies at once
        for digest, stage in zip(row["run"].stages, row["run"].config.stages, strict=True):
            mine = (line for line in lines if line.startswith(f"{stage.name},"))
            # Left out: the seconds of no two trainings are equal, and older curves lack the later metric.
            told_apart = (f",train,{SECONDS},", f",{LATER},")
            own = tuple(line for line in mine if not any(part in line for part in told_apart))
            trainings = ends.setdefault((stage.name, digest), {})
            trainings.setdefault(own, ([], _last(own)))[0].append(row["variant"])
    by_seed: dict[tuple, list[list[str]]] = {}  # stage, variants of each training -> by seed, their ends
    for (name, _), trainings in ends.items():
        if len({end for _, end in trainings.values()}) > 1:
            who = tuple(tuple(variants) for variants, _ in trainings.values())
            by_seed.setdefault((name, who), []).append([end for _, end in trainings.values()])
    found = []
    for (name, who), of_seeds in by_seed.items():
        items = [
            f"Stage {name}, training {i + 1}, for {', '.join(variants)}. "
            f"It ended on validation, seed by seed, at: {'; '.join(ended[i] for ended in of_seeds)}."
            for i, variants in enumerate(who)
        ]
        found.append(Again(f"The stage {name} was trained {len(who)} times.", items))
    return found


def _last(lines: Sequence[str]) -> str:
    """Return the last value of each validation metric among these lines of a curve."""
    parts = [line.split(",") for line in lines if ",validation," in line]
    last = {metric: float(value) for *_, metric, value in parts}
    return ", ".join(f"{metric} {value:.3f}" for metric, value in last.items())


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
