"""Verification of stored numbers in minutes: shipped weights answer shipped test turns again.

`results/<profile>/stages/` holds what runs have trained, one folder per stage, in 16 bits.
`results/<profile>/turns/` holds the audio of the test turns. Verifying encodes, decodes and scores anew, and
says for each run whether its number lands inside the stored interval.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from speechllm_bench import identity, jobs, paths, preparation, runs, sealed, studies
from speechllm_bench.config import RunConfig
from speechllm_bench.data import corpora
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.evaluation import versions
from speechllm_bench.tasks import TASKS


@dataclass(frozen=True)
class Verified:
    """A stored number and the same number made again."""

    run: str  # digest
    variant: str
    split: str
    metric: str
    stored: float
    low: float
    high: float
    again: float
    same_answers: int
    n: int

    @property
    def lands(self) -> bool:
        return self.low <= self.again <= self.high


def turns_folder(profile: str) -> Path:
    return paths.results(profile) / "turns"


def verify(profile: str, tell: Callable[[str], None] = print) -> list[Verified]:
    """Every stored run whose stages and test turns are shipped, decoded and scored again.

    MissingInput where nothing is shipped, or a backbone is not on this machine.
    """
    recorded = [(folder, record) for folder, record in _records(profile) if _shipped(profile, record)]
    if not recorded:
        folder = paths.results(profile) / "stages"
        raise MissingInput(f"no trained stages are shipped for profile '{profile}' in {folder}")
    named = _names(profile)
    return [found for one in recorded for found in _verify_run(profile, *one, named, tell)]


def told(found: list[Verified]) -> str:
    """A table of what was verified, and a closing sentence."""
    from tabulate import tabulate

    rows = [
        (v.variant, v.split, v.metric, f"{v.stored:.3f} [{v.low:.3f}, {v.high:.3f}]", f"{v.again:.3f}",
         f"{v.same_answers} of {v.n}", "lands" if v.lands else "DOES NOT LAND")
        for v in found
    ]  # fmt: skip
    columns = ("run", "test set", "metric", "on record", "here", "same answers", "verdict")
    landed = sum(v.lands for v in found)
    closing = f"{landed} of {len(found)} numbers land inside the interval on record."
    return f"{tabulate(rows, columns, disable_numparse=True)}\n{closing}"


def _verify_run(
    profile: str, folder: Path, record: dict, named: dict[str, str], tell: Callable[[str], None]
) -> Iterator[Verified]:
    from speechllm_bench.training import loop, stages

    config = RunConfig.model_validate(record["config"])
    if identity.run_digest(config) != record["digest"]:
        raise UserError(
            f"run {record['digest']} of {profile} was made by other code, backbones or corpus than this "
            f"checkout has; verify it at commit {record['environment']['commit']}"
        )
    corpus = preparation.ensure_shipped(config.corpus, turns_folder(profile))
    if config.evaluation.split not in corpus.splits:
        return
    frames = preparation.ensure_shipped_frames(config, corpus) if config.hears else None
    model, tokenizer = stages.build_model(config, frames.dim if frames else None)
    for stage, digest in zip(config.stages, record["stages"], strict=True):
        trained = studies.stage_folder(profile, digest)
        sealed.read(trained / "stage.json", "bring it back with `git checkout`")
        loop.load_weights(model.trained_parameters(stage.train), trained / "weights.safetensors")
    recognised = {}
    if config.evaluation.text == "asr":
        recognised = preparation.ensure_transcripts(config, corpus, config.evaluation.split)
    types = corpora.slot_types(config.corpus.name)
    data = stages.Data([], [], types, frames, recognised)
    with tempfile.TemporaryDirectory() as again:
        tell(f"{named.get(folder.name, folder.name)} on {config.evaluation.split} ...")
        jobs.evaluate(config, model, tokenizer, corpus, data, Path(again), lambda phase, share: None)
        yield _compared(profile, folder, Path(again), config, named)


def _shipped(profile: str, record: dict) -> bool:
    """Whether every stage that the run was trained in is on disk."""
    return all(studies.stage_done(profile, digest) for digest in record["stages"])


def _records(profile: str) -> Iterator[tuple[Path, dict]]:
    for file in sorted(paths.results(profile).glob("runs/[!.]*/run.json")):
        record = runs.read_json(file, runs.DELETE_FOLDER)
        if record["status"] == "ok" and record["stages"]:
            yield file.parent, record


def _compared(profile: str, stored: Path, again: Path, config: RunConfig, named: dict[str, str]) -> Verified:
    def answers(folder: Path) -> dict[str, str]:
        with gzip.open(folder / "predictions.jsonl.gz", "rt", encoding="utf-8") as lines:
            return {p["example_id"]: p["raw"] for p in map(json.loads, lines)}

    metric = TASKS[config.evaluation.task].main.name
    scores = (runs.read_json(folder / "score.json") for folder in (stored, again))
    before, now = (versions.shown(found, profile)["metrics"][metric] for found in scores)
    old, new = answers(stored), answers(again)
    return Verified(
        run=stored.name,
        variant=named.get(stored.name, stored.name),
        split=config.evaluation.split,
        metric=metric,
        stored=before["value"],
        low=before["low"],
        high=before["high"],
        again=now["value"],
        same_answers=sum(old.get(id) == text for id, text in new.items()),
        n=len(new),
    )


def _names(profile: str) -> dict[str, str]:
    """The study and variant that each run is first named by, by its digest."""
    planned = studies.plan(studies.known_studies(), profile, ["all"])
    return {run.digest: f"{run.study} {run.variant}" for run in reversed(planned.runs)}
