"""Verification of stored numbers in minutes: shipped weights answer the shipped test turns again.

`results/<profile>/stages/` holds the trained weights, one folder per stage, in 16 bits.
`results/<profile>/turns/` holds the audio of the test turns. Verification encodes, decodes and scores again.
It tells for each run whether the new number lies inside the stored interval. A number with an id is verified
from all its runs. Those without shipped weights are trained again, in a separate folder.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from speechllm_bench.cite import why
from speechllm_bench.data import corpora
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.evaluation import versions
from speechllm_bench.planning import identity, places, studies
from speechllm_bench.running import preparation, runner
from speechllm_bench.running.evaluating import evaluate
from speechllm_bench.settings.config import RunConfig, from_stored
from speechllm_bench.stats import with_interval
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.numbers import Cell, Number
from speechllm_bench.storage.outputs import read_predictions
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import TASKS

Loaded = dict[tuple[str, ...], tuple[Any, Any]]
"""Digests of stages -> model and tokenizer that they trained. Holds one training at a time."""
PREDICTIONS = "predictions.jsonl.gz"
KEPT = ("clips", "corpora", "frames", "transcripts")  # parts of the cache that are reused


@dataclass(frozen=True)
class Verified:
    """A stored number of a run, and the same number computed again."""

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

    @property
    def shown(self) -> str:
        return with_interval(self.stored, self.low, self.high)

    @property
    def verdict(self) -> str:
        return _verdict(self.lands)

    def __str__(self) -> str:
        return f"{self.metric} {self.again:.3f} here, {self.shown} on record: {self.verdict}"


@dataclass(frozen=True)
class Remade:
    """A stored number of the tables, and the same number from runs that were made again."""

    id: str
    stored: Cell
    again: Cell
    answered: int  # runs whose shipped weights answered again
    trained: int  # runs that were made again from scratch

    @property
    def lands(self) -> bool:
        low, high, again = self.stored.low, self.stored.high, self.again.value
        return low is not None and high is not None and again is not None and low <= again <= high

    def __str__(self) -> str:
        made = {"decoded again": self.answered, "made again": self.trained}
        how = ", ".join(f"{n} run{'s' * (n > 1)} {what}" for what, n in made.items() if n)
        shown = f"{self.stored.shown} on record, {self.again.shown} here ({how})"
        return f"{self.id} = {shown}: {_verdict(self.lands)}."


def _verdict(lands: bool) -> str:
    return "lands" if lands else "DOES NOT LAND"


def turns_folder(profile: str) -> Path:
    return paths.results(profile) / "turns"


def verify(profile: str, tell: Callable[[str], None] = print) -> list[Verified]:
    """Decode and score every stored run whose stages and test turns are shipped. Return the comparisons.

    Raises MissingInput where nothing is shipped, or a backbone is not on this machine.
    """
    recorded = [one for one in _records(profile) if _shipped(profile, one[1]["stages"])]
    if not recorded:
        folder = paths.results(profile) / "stages"
        raise MissingInput(f"no trained stages are shipped for profile '{profile}' in {folder}")
    named = _names(profile)
    # Test set A first, since the papers' main tables are of it. Within a test set each model is loaded once.
    recorded.sort(key=lambda one: (one[1]["config"]["evaluation"]["split"], one[1]["stages"]))
    loaded: Loaded = {}
    verified = []
    for place, (folder, record) in enumerate(recorded, 1):
        config = from_stored(RunConfig, record["config"])
        if identity.run_digest(config) != record["digest"]:
            raise UserError(
                f"run {record['digest']} of {profile} was made by other code, backbones or corpus than this "
                f"checkout has; verify it at commit {record['environment']['commit']}"
            )
        with tempfile.TemporaryDirectory() as again:
            said = partial(_say, tell, f"{place} of {len(recorded)}: {named.get(folder.name, folder.name)}")
            if _answer(profile, config, record["stages"], Path(again), loaded, said):
                verified.append(_compared(profile, folder, Path(again), config, named))
                tell(f"  {verified[-1]}")
    return verified


def verify_number(number: Number, n_jobs: int | None = None, tell: Callable[[str], None] = print) -> Remade:
    """Compute one number of the tables again. Its runs answer or train again; stored results are not changed.

    Raises UserError for a number without an interval, a stale number, and a run that cannot be made again.
    """
    from speechllm_bench.reports import study as reports

    row, profile = number.row, number.profile
    if number.cell.low is None:
        raise UserError(f"{number.id} has no interval to compare with; name a metric or a difference")
    if stale := why.causes(profile, row):
        raise UserError(f"{number.id} is stale ({'; '.join(map(str, stale))}); report it again first")
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
            made_again = {one.key: one for one in reports.numbered(row.study, profile, row.seeds)}
    found = made_again[row.key].cells.get(number.column, Cell("nothing"))  # "nothing" if runs diverged
    return Remade(number.id, number.cell, found, answered, len(plan.missing))


def told(found: list[Verified]) -> str:
    """Return a table of the verified numbers, and a closing sentence."""
    from tabulate import tabulate

    rows = [
        (v.variant, v.split, v.metric, v.shown, f"{v.again:.3f}", f"{v.same_answers} of {v.n}", v.verdict)
        for v in found
    ]
    columns = ("run", "test set", "metric", "on record", "here", "same answers", "verdict")
    landed = sum(v.lands for v in found)
    closing = f"{landed} of {len(found)} numbers land inside the interval on record."
    return f"{tabulate(rows, columns, disable_numparse=True)}\n{closing}"


def _shipped(profile: str, stages: Sequence[str]) -> bool:
    """Return whether the run was trained and all its stages are on disk."""
    return bool(stages) and all(places.stage_done(profile, digest) for digest in stages)


def _answer(
    profile: str,
    config: RunConfig,
    stages: Sequence[str],
    again: Path,
    loaded: Loaded,
    tell: Callable[[str], None],
) -> str | None:
    """Write the answers and scores of shipped weights into `again`.

    stages: digests of the run's stages. loaded: keeps their model for the next run. Returns the kind of
    device, or None if the test turns are not shipped.
    """
    from tqdm import tqdm

    from speechllm_bench.training import loop
    from speechllm_bench.training.stages import Data, build_model

    identity.check_fetched(config)
    split = config.evaluation.split
    corpus = preparation.ensure_shipped(config.corpus, turns_folder(profile))
    if split not in corpus.splits:
        return None
    frames = preparation.ensure_shipped_frames(config, corpus, split) if config.hears else None
    if (trained := tuple(stages)) not in loaded:
        loaded.clear()
        model, tokenizer = build_model(config, frames.dim if frames else None)
        for stage, digest in zip(config.stages, trained, strict=True):
            folder = places.stage_folder(profile, digest)
            sealed.read(folder / "stage.json", "bring it back with `git checkout`")
            loop.load_weights(model.trained_parameters(stage.train), folder / "weights.safetensors")
        loaded[trained] = model, tokenizer
    model, tokenizer = loaded[trained]
    asr = config.evaluation.text == "asr"
    recognised = preparation.ensure_transcripts(config, corpus, split) if asr else {}
    data = Data([], [], corpora.slot_types(config.corpus.name), frames, recognised)
    tell(split)
    with tqdm(total=100, desc="answers", unit="%", leave=False, mininterval=1) as bar:
        evaluate(
            config, model, tokenizer, corpus, data, again, lambda _, share: bar.update(100 * share - bar.n)
        )
    return model.llm.device.type


def _say(tell: Callable[[str], None], name: str, split: str) -> None:
    tell(f"{name} on {split} ...")


def _answer_again(planned: Iterable[studies.Run], home: Path, tell: Callable[[str], None]) -> int:
    """Put the runs with shipped weights and turns into another home, with new answers.

    Return their number.
    """
    loaded: Loaded = {}
    answered = 0
    for run in sorted(planned, key=lambda run: run.stages):  # so that each model is loaded once
        if not _shipped(run.profile, run.stages) or not turns_folder(run.profile).is_dir():
            continue
        again = home / run.folder.relative_to(paths.home())
        again.mkdir(parents=True)
        said = partial(_say, tell, run.name)
        if device := _answer(run.profile, run.config, run.stages, again, loaded, said):
            record = sealed.read(run.folder / "run.json", runs.DELETE_FOLDER)
            sealed.write(again / "run.json", record | {"device_kind": device})
            answered += 1
        else:
            runs.remove(again)
    return answered


@contextlib.contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Send results to another home within the context. It shares corpora, frames and fetched backbones."""
    cache, fetched = paths.cache(), paths.fetched()
    (folder / ".cache").mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        (cache / name).mkdir(exist_ok=True)
        (folder / ".cache" / name).symlink_to(cache / name)
    if fetched.is_dir():
        (folder / "fetched").symlink_to(fetched)
    with paths.at_home(folder):
        yield


def _records(profile: str) -> Iterator[tuple[Path, dict]]:
    for file in sorted(paths.results(profile).glob("runs/[!.]*/run.json")):
        record = runs.read_json(file, runs.DELETE_FOLDER)
        if record["status"] == Status.OK and record["stages"]:
            yield file.parent, record


def _compared(profile: str, stored: Path, again: Path, config: RunConfig, named: dict[str, str]) -> Verified:
    metric = TASKS[config.evaluation.task].main.name
    scores = (runs.read_json(folder / "score.json") for folder in (stored, again))
    before, now = (versions.shown(found, profile)["metrics"][metric] for found in scores)
    said = (read_predictions(folder / PREDICTIONS, runs.DELETE_FOLDER) for folder in (stored, again))
    old, new = ({answer.example_id: answer.raw for answer in answers} for answers in said)
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
    """Return digest -> the first study and variant that have this run."""
    planned = studies.plan(studies.known_studies(), profile, ["all"])
    return {run.digest: f"{run.study} {run.variant}" for run in reversed(planned.runs)}
