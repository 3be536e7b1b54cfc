"""Updates stored scores from stored predictions: newer metrics, and newer versions of metrics.

Every other number of a score is computed again and must agree with the stored one to 1e-12. So a score that
does not belong to its predictions is found as well.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from speechllm_bench.data import corpora
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.outputs import read_predictions
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import METRICS

GROWING = ("versions", "metrics", "totals", "sums")
"""Parts of a score with an entry per metric. A score that is older than a metric lacks its entries."""

TOLERANCE = 1e-12


@dataclass(frozen=True)
class Outcome:
    """Numbers of scores of a profile: newly updated, and already up to date."""

    changed: int
    same: int

    def __str__(self) -> str:
        n = self.changed + self.same
        return f"{n} scores: {self.changed} updated, {self.same} already up to date"


def rescore_runs(profile: str) -> Outcome:
    """Update every stored score of a profile. A second call changes nothing.

    Raises UserError where a score is damaged or differs from what its predictions give; that score is not
    changed.
    """
    changed = same = 0
    for folder in sorted((paths.results(profile) / "runs").glob("*")):
        file, record = folder / "score.json", folder / "run.json"
        if folder.name.startswith(".") or not record.is_file():
            continue
        if sealed.read(record, runs.DELETE_FOLDER, files=False)["status"] == Status.DIVERGED:
            continue  # it has no score
        stored = runs.read_json(file, runs.DELETE_FOLDER)
        renewed = _merged(stored, scored(folder), file)
        if renewed == stored:
            same += 1
        else:
            _store(folder, renewed)
            changed += 1
    return Outcome(changed, same)


def differences(stored: dict, fresh: dict) -> Iterator[str]:
    """Yield the differences between a stored score and the one that its predictions give now, a phrase each.

    A metric that the stored score lacks, or has in an older version, is no difference. Neither is the
    version of a task: it concerns the task's questions, whose gold answers are stored with the predictions.
    """
    if not isinstance(stored, dict):
        yield "it is no score"
        return
    newer = _renewed(stored, fresh)
    for part in dict.fromkeys((*stored, *fresh)):
        one, other = stored.get(part), fresh.get(part)
        if part in GROWING and isinstance(one, dict) and isinstance(other, dict):
            one = {k: entry for k, entry in one.items() if not (k in newer or k.startswith("task "))}
            other = {name: entry for name, entry in other.items() if name in one}
        yield from _unlike(one, other, part)


def _store(folder: Path, score: dict) -> None:
    """Replace the folder of a run by one with a new score, which the record's seal covers."""
    record = runs.read_json(folder / "run.json", runs.DELETE_FOLDER)
    with runs.whole_folder(folder) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        runs.write_json(temporary / "score.json", score)
        files = record[sealed.SEAL]["files"] | {"score.json": runs.file_sha256(temporary / "score.json")}
        sealed.write(temporary / "run.json", record, files)


def scored(folder: Path, only: Set[str] | None = None) -> dict:
    """Return the score that a run's stored predictions give now. UserError where the files are damaged.

    only: ids of the utterances whose answers are scored; None: all.
    """
    record = sealed.read(folder / "run.json", runs.DELETE_FOLDER)
    asked = record["config"]["evaluation"]
    task, wording = asked["task"], asked.get("wording")
    tested = asked.get("corpus") or record["config"]["corpus"]
    types = corpora.slot_types(tested["name"]) if wording else {}
    said = read_predictions(folder / "predictions.jsonl.gz", runs.DELETE_FOLDER)
    kept = [one for one in said if only is None or one.utterance_id in only]
    return score.score_task(task, kept, score.parser(task, wording, types))


def _renewed(stored: dict, fresh: dict) -> set[str]:
    """Return the names in `GROWING` of the metrics, and their counts, that have a newer version now."""
    older = stored.get("versions")
    if not isinstance(older, dict):
        return set()
    counts = {k for k, v in fresh["versions"].items() if isinstance(older.get(k), int) and older[k] < v}
    return counts | {name for name in fresh["metrics"] if METRICS[name].counts in counts}


def _merged(stored: dict, fresh: dict, file: Path) -> dict:
    for found in differences(stored, fresh):
        raise UserError(
            f"{file} does not agree with the predictions beside it ({found}); {runs.DELETE_FOLDER}"
        )
    merged, newer = dict(stored), _renewed(stored, fresh)
    for part in GROWING:  # keeps the order of entries of a newly made score
        names = [name for name in fresh[part] if name in stored[part] or not name.startswith("task ")]
        kept = {name: entry for name, entry in stored[part].items() if name not in newer}
        merged[part] = {name: kept.get(name, fresh[part][name]) for name in names}
    return merged


def _unlike(stored, fresh, where: str) -> Iterator[str]:
    """Yield where two plain records differ. Numbers may differ by `TOLERANCE`."""
    if isinstance(stored, dict) and isinstance(fresh, dict) and stored.keys() == fresh.keys():
        for key in stored:
            yield from _unlike(stored[key], fresh[key], f"{where} {key}")
    elif isinstance(stored, list) and isinstance(fresh, list) and len(stored) == len(fresh):
        for number, (one, other) in enumerate(zip(stored, fresh, strict=True), start=1):
            yield from _unlike(one, other, f"{where} {number}")
    elif _number(stored) and _number(fresh):
        if not math.isclose(stored, fresh, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            yield f"{where} is {stored}, not {fresh}"
    elif stored != fresh:
        yield f"{where} differs"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
