"""Verification of stored numbers in minutes: shipped weights answer shipped test turns again.

`results/<profile>/models/` holds what runs have trained, one safetensors file per training, in 16 bits.
`results/<profile>/turns/` holds the audio of the test turns. Verifying encodes, decodes and scores anew, and
says for each run whether its number lands inside the stored interval. A number named by its id is verified
from all the runs that it rests on; those without shipped weights are trained again, in a folder of their own.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speechllm_bench import identity, jobs, paths, preparation, runner, runs, sealed, studies
from speechllm_bench.cite import why
from speechllm_bench.config import RunConfig
from speechllm_bench.data import corpora
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.evaluation import versions
from speechllm_bench.numbers import Cell, Number
from speechllm_bench.tasks import TASKS

KEPT = ("clips", "corpora", "frames", "transcripts")  # of the cache: what is not made again


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


@dataclass(frozen=True)
class Remade:
    """A number on record, and the same number from runs that were made again."""

    id: str
    stored: Cell
    again: Cell
    answered: int  # runs whose shipped weights have answered again
    trained: int  # runs that were made again from the start

    @property
    def lands(self) -> bool:
        return self.stored.low <= self.again.value <= self.stored.high

    def __str__(self) -> str:
        made = {"decoded again": self.answered, "made again": self.trained}
        how = ", ".join(f"{n} run{'s' * (n > 1)} {what}" for what, n in made.items() if n)
        verdict = "lands" if self.lands else "DOES NOT LAND"
        return f"{self.id} = {self.stored.shown} on record, {self.again.shown} here ({how}): {verdict}."


def models_folder(profile: str) -> Path:
    return paths.results(profile) / "models"


def turns_folder(profile: str) -> Path:
    return paths.results(profile) / "turns"


def export_model(run: studies.Run) -> Path:
    """What the run trained, as one safetensors file of 16-bit floats, beside the results.

    UserError where it is not trained yet.
    """
    from safetensors.torch import load_file, save

    weights = {}
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


def verify_number(number: Number, n_jobs: int | None = None, tell: Callable[[str], None] = print) -> Remade:
    """One number of the tables from its runs, each answered or trained again; results stay as they are.

    UserError for a number without an interval, or a stale one, and where a run cannot be made again.
    """
    from speechllm_bench.reports import study as reports

    row, profile = number.row, number.profile
    if number.cell.low is None:
        raise UserError(f"{number.id} has no interval to land in; name a metric or a difference")
    if stale := why.causes(profile, row):
        raise UserError(f"{number.id} is stale ({'; '.join(map(str, stale))}); report it anew first")
    study = studies.load(row.study, profile)[0]
    beside = study.baselines if number.column == "difference" and row.table == row.study else ()
    names = list(dict.fromkeys([*why.variants_of(study, row), *beside]))
    planned = [studies.run(row.study, v, s, profile, to_run=False) for v in names for s in row.seeds]
    paths.cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=paths.cache()) as made:
        answered = _answer_again({run.digest: run for run in planned}.values(), Path(made), tell)
        with _home(Path(made)):
            plan = studies.plan([row.study], profile, names, row.seeds)
            if plan.missing and runner.run_missing(plan, n_jobs).failures:
                raise UserError(f"{number.id} cannot be verified: not all of its runs could be made again")
            rows = {found.key: found for found in reports.numbered(row.study, profile, row.seeds)}
    return Remade(number.id, number.cell, rows[row.key].cells[number.column], answered, len(plan.missing))


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
    recorded = [
        (folder, record) for folder, record in _records(profile) if record["stages"][-1:] == [file.stem]
    ]
    if not recorded:
        raise UserError(
            f"{file} belongs to no run on record; bring results/{profile} back with `git checkout`"
        )
    loaded: dict = {}
    for folder, record in recorded:
        config = RunConfig.model_validate(record["config"])
        if identity.run_digest(config) != record["digest"]:
            raise UserError(
                f"run {record['digest']} of {profile} was made by other code, backbones or corpus than this "
                f"checkout has; verify it at commit {record['environment']['commit']}"
            )
        with tempfile.TemporaryDirectory() as again:
            told = partial(_say, tell, named.get(folder.name, folder.name))
            if _answer(profile, config, file, Path(again), loaded, told):
                yield _compared(profile, folder, Path(again), config, named)


def _answer(
    profile: str, config: RunConfig, file: Path, again: Path, loaded: dict, tell: Callable[[str], None]
) -> str | None:
    """Answers and scores of shipped weights, into `again`; the kind of device, None for turns not shipped.

    loaded: keeps the model of the file for the next run that it answers.
    """
    from speechllm_bench.training import stages

    identity.check_fetched(config)
    split = config.evaluation.split
    corpus = preparation.ensure_shipped(config.corpus, turns_folder(profile))
    if split not in corpus.splits:
        return None
    frames = preparation.ensure_shipped_frames(config, corpus) if config.hears else None
    if file not in loaded:
        loaded.clear()
        loaded[file] = stages.build_model(config, frames.dim if frames else None)
        load_exported(loaded[file][0], config, file)
    asr = config.evaluation.text == "asr"
    recognised = preparation.ensure_transcripts(config, corpus, split) if asr else {}
    data = stages.Data([], [], corpora.slot_types(config.corpus.name), frames, recognised)
    tell(split)
    jobs.evaluate(config, *loaded[file], corpus, data, again, lambda phase, share: None)
    return loaded[file][0].llm.device.type


def _say(tell: Callable[[str], None], name: str, split: str) -> None:
    tell(f"{name} on {split} ...")


def _answer_again(planned: Iterable[studies.Run], home: Path, tell: Callable[[str], None]) -> int:
    """Put runs with shipped weights and turns into another home, with new answers; returns how many."""
    loaded, answered = {}, 0
    for run in planned:
        file = models_folder(run.profile) / f"{run.stages[-1] if run.stages else None}.safetensors"
        if not file.is_file() or not turns_folder(run.profile).is_dir():
            continue
        again = home / run.folder.relative_to(paths.home())
        again.mkdir(parents=True)
        if device := _answer(run.profile, run.config, file, again, loaded, partial(_say, tell, run.name)):
            record = sealed.read(run.folder / "run.json", runs.DELETE_FOLDER)
            sealed.write(again / "run.json", record | {"device_kind": device})
            answered += 1
        else:
            runs.remove(again)
    return answered


@contextlib.contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Results go to another home meanwhile; it has this one's corpora, frames and fetched backbones."""
    before, (cache, fetched) = os.environ.get(paths.HOME), (paths.cache(), paths.fetched())
    (folder / ".cache").mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        (cache / name).mkdir(exist_ok=True)
        (folder / ".cache" / name).symlink_to(cache / name)
    if fetched.is_dir():
        (folder / "fetched").symlink_to(fetched)
    os.environ[paths.HOME] = str(folder)
    try:
        yield
    finally:
        del os.environ[paths.HOME]
        if before is not None:
            os.environ[paths.HOME] = before


def _records(profile: str) -> Iterator[tuple[Path, dict]]:
    for file in sorted(paths.results(profile).glob("runs/[!.]*/run.json")):
        record = runs.read_json(file, runs.DELETE_FOLDER)
        if record["status"] == "ok" and record["stages"]:
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
