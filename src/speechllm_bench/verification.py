"""Verification of stored numbers in minutes: shipped weights answer shipped test turns again.

`results/<profile>/models/` holds what runs have trained, one safetensors file per training, in 16 bits.
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
from typing import Any

from speechllm_bench import identity, jobs, paths, preparation, runs, studies
from speechllm_bench.config import RunConfig
from speechllm_bench.data import corpora
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.evaluation import versions
from speechllm_bench.status import Status
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


def models_folder(profile: str) -> Path:
    return paths.results(profile) / "models"


def turns_folder(profile: str) -> Path:
    return paths.results(profile) / "turns"


def export_model(run: studies.Run) -> Path:
    """What the run trained, as one safetensors file of 16-bit floats, beside the results.

    UserError where it is not trained yet.
    """
    from safetensors.torch import load_file, save

    weights: dict[str, Any] = {}
    for digest in run.stages:
        file = studies.stage_folder(run.profile, digest) / "weights.safetensors"
        if not file.is_file():
            raise UserError(f"{run.name} is not trained on this machine; run it first")
        weights |= load_file(file)
    target = models_folder(run.profile) / f"{run.stages[-1]}.safetensors"
    halves = {name: weight.half().contiguous() for name, weight in sorted(weights.items())}
    about = {"first_run": run.name, "stages": ",".join(run.stages)}
    runs.write_bytes(target, save(halves, metadata=about))
    return target


def verify(profile: str, tell: Callable[[str], None] = print) -> list[Verified]:
    """Every stored run whose model and test turns are shipped, decoded and scored again.

    MissingInput where nothing is shipped, or a backbone is not on this machine.
    """
    files = sorted(models_folder(profile).glob("*.safetensors"))
    if not files:
        raise MissingInput(f"no trained model is shipped for profile '{profile}' in {models_folder(profile)}")
    named = _names(profile)
    return [found for file in files for found in _verify_model(profile, file, named, tell)]


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


def _verify_model(
    profile: str, file: Path, named: dict[str, str], tell: Callable[[str], None]
) -> Iterator[Verified]:
    from speechllm_bench.training import stages

    recorded = [
        (folder, record) for folder, record in _records(profile) if record["stages"][-1:] == [file.stem]
    ]
    if not recorded:
        raise UserError(
            f"{file} belongs to no run on record; bring results/{profile} back with `git checkout`"
        )
    model = tokenizer = None
    for folder, record in recorded:
        config = RunConfig.model_validate(record["config"])
        if identity.run_digest(config) != record["digest"]:
            raise UserError(
                f"run {record['digest']} of {profile} was made by other code, backbones or corpus than this "
                f"checkout has; verify it at commit {record['environment']['commit']}"
            )
        corpus = preparation.ensure_shipped(config.corpus, turns_folder(profile))
        if config.evaluation.split not in corpus.splits:
            continue
        frames = preparation.ensure_shipped_frames(config, corpus) if config.hears else None
        if model is None:
            model, tokenizer = stages.build_model(config, frames.dim if frames else None)
            load_exported(model, config, file)
        recognised = {}
        if config.evaluation.text == "asr":
            recognised = preparation.ensure_transcripts(config, corpus, config.evaluation.split)
        types = corpora.slot_types(config.corpus.name)
        data = stages.Data([], [], types, frames, recognised)
        with tempfile.TemporaryDirectory() as again:
            tell(f"{named.get(folder.name, folder.name)} on {config.evaluation.split} ...")
            jobs.evaluate(config, model, tokenizer, corpus, data, Path(again), lambda phase, share: None)
            yield _compared(profile, folder, Path(again), config, named)


def _records(profile: str) -> Iterator[tuple[Path, dict]]:
    for file in sorted(paths.results(profile).glob("runs/[!.]*/run.json")):
        record = runs.read_json(file, runs.DELETE_FOLDER)
        if record["status"] == Status.OK and record["stages"]:
            yield file.parent, record


def load_exported(model, config: RunConfig, file: Path) -> None:
    """What `export_model` wrote into the parameters that the stages train."""
    import torch
    from safetensors.torch import load_file

    stored = load_file(file)
    learned: dict = {}
    for stage in config.stages:
        learned |= model.trained_parameters(stage.train)
    if learned.keys() != stored.keys():
        raise UserError(f"{file} holds the weights of another model; bring it back with `git checkout`")
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(stored[name])


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
