"""Verification of a profile's stored numbers: shipped weights answer shipped test turns again.

By default they answer a sample of each test set. A stored number is compared on the same turns, whose stored
answers are scored again. Verification of one number by its id is in `verification_of_number`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from speechllm_bench.commands import rescore
from speechllm_bench.commands.answering_again import Shipped, all_shipped, turns_folder
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.evaluation import versions
from speechllm_bench.evaluation.sample import TURNS, sampled
from speechllm_bench.planning import identity, studies
from speechllm_bench.running.evaluating import asked
from speechllm_bench.settings.config import RunConfig, from_stored
from speechllm_bench.stats import with_interval
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.outputs import read_predictions
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import TASKS

PREDICTIONS = "predictions.jsonl.gz"

# Seconds of one CPU core with AVX2, in fp32, with the backbones of `small`. They only make estimates of time.
AN_ANSWER, A_TOKEN = 0.3, 0.01
FRAMES_OF_A_TURN, RECOGNITION_OF_A_TURN = 0.4, 0.7
START = 30  # imports, reading the turns, loading the first model


@dataclass(frozen=True)
class OnRecord:
    """A stored number with its 95 % interval."""

    value: float
    low: float
    high: float

    def holds(self, number: float) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        return with_interval(self.value, self.low, self.high)


@dataclass(frozen=True)
class Verified:
    """A stored number of a run, and the same number computed again from `n` turns."""

    run: str  # digest
    variant: str
    split: str
    metric: str
    whole: OnRecord  # of the whole test set
    same: OnRecord  # of the turns that were answered again
    again: float
    same_answers: int
    n: int

    @property
    def lands(self) -> bool:
        """Whether the new number lies inside both intervals on record.

        That of the whole test set is compared with its number, moved by the difference on the same turns.
        """
        moved = self.whole.value + (self.again - self.same.value)
        return self.same.holds(self.again) and self.whole.holds(moved)

    @property
    def verdict(self) -> str:
        return "lands" if self.lands else "DOES NOT LAND"

    def __str__(self) -> str:
        shown = f"{self.metric} {self.again:.3f} here, {self.same} on record for the same {self.n} turns"
        alike = f"{self.same_answers} of {self.n} answers are the same"
        return f"{shown}, {self.whole} for the whole test set; {alike}: {self.verdict}"


@dataclass(frozen=True)
class Planned:
    """A stored run whose weights and test turns are shipped, and what is to be done for it."""

    folder: Path
    config: RunConfig
    stages: tuple[str, ...]
    name: str
    only: frozenset[str]  # ids of the turns to answer
    heard: frozenset[str]  # ids of turns whose encoder frames it needs
    whole: bool  # whether `only` is the whole test set
    tokens: int  # of the stored answers to these turns

    @property
    def split(self) -> str:
        return self.config.evaluation.split

    @property
    def hearing(self) -> tuple[str, str]:
        """Key of the encoder frames, or transcripts, that runs share."""
        return identity.frames_digest(self.config), self.split


def _say(line: str) -> None:
    print(line, flush=True)  # at once, into a file too


def verify(
    profile: str, turns: int | None = TURNS, threads: int = 1, tell: Callable[[str], None] = _say
) -> list[Verified]:
    """Decode and score every stored run whose stages and test turns are shipped. Return the comparisons.

    turns: how many of each test set; None: all. threads: for the estimate of time.
    Raises MissingInput where nothing is shipped, or a backbone is not on this machine.
    """
    began, again = time.monotonic(), Shipped(profile)
    planned = _plan(profile, again, turns)
    heard: dict[tuple[str, str], frozenset[str]] = {}
    for run in planned:  # frames are made once for all runs of a test set
        heard[run.hearing] = heard.get(run.hearing, frozenset()) | run.heard
    work = _work(planned, heard)
    tell(_told_first(planned, sum(work) / threads, threads))
    verified = []
    for place, run in enumerate(planned):
        tell(f"{place + 1} of {len(planned)}: {run.name} on {run.split} ...")
        with tempfile.TemporaryDirectory() as folder:
            only, of_all = (None, None) if run.whole else (run.only, heard[run.hearing])
            again.answer(run.config, run.stages, Path(folder), only, of_all)
            verified.append(_compared(profile, run, Path(folder)))
        tell(f"  {verified[-1]}.")
        if left := sum(work[place + 1 :]):
            seconds = (time.monotonic() - began) * left / sum(work[: place + 1])
            tell(f"  About {_minutes(seconds)} to go.")
    return verified


def told(found: list[Verified]) -> str:
    """Return a table of the verified numbers, and closing sentences."""
    from tabulate import tabulate

    rows = [
        (
            v.variant,
            v.split,
            v.metric,
            str(v.whole),
            str(v.same),
            f"{v.again:.3f}",
            f"{v.same_answers} of {v.n}",
            v.verdict,
        )
        for v in found
    ]
    columns = ("run", "test set", "metric", "on record", "same turns", "here", "same answers", "verdict")
    n, alike = sum(v.n for v in found), sum(v.same_answers for v in found)
    landed = sum(v.lands for v in found)
    closing = (
        f"{landed} of {len(found)} numbers land inside the intervals on record. {alike} of {n} answers "
        f"({alike / n:.0%}) are the same."
    )
    return f"{tabulate(rows, columns, disable_numparse=True)}\n{closing}"


def _plan(profile: str, again: Shipped, turns: int | None) -> list[Planned]:
    """Return the runs to answer again, in the order of the work.

    Test set A is first, since the papers' main tables are of it. Within a test set runs of one model follow
    each other. Raises UserError for a run of other code, backbones or corpus.
    """
    recorded = [one for one in _records(profile) if all_shipped(profile, one[1]["stages"])]
    if not recorded:
        folder = paths.results(profile) / "stages"
        raise MissingInput(f"no trained stages are shipped for profile '{profile}' in {folder}")
    named = _names(profile)
    recorded.sort(key=lambda one: (one[1]["config"]["evaluation"]["split"], one[1]["stages"]))
    planned = []
    for folder, record in recorded:
        config = from_stored(RunConfig, record["config"])
        if identity.run_digest(config) != record["digest"]:
            raise UserError(
                f"run {record['digest']} of {profile} was made by other code, backbones or corpus than this "
                f"checkout has; verify it at commit {record['environment']['commit']}"
            )
        identity.check_fetched(config)
        if not again.has(config):
            continue
        corpus = again.corpus(config.tested)
        split = corpus.utterances(config.evaluation.split)
        pairs = asked(config, corpus, sampled(split, turns or len(split)))
        only = frozenset(turn.id for turn, _ in pairs)
        heard = frozenset(other.id for _, other in pairs) if config.hears else frozenset()
        said = read_predictions(folder / PREDICTIONS, runs.DELETE_FOLDER)
        planned.append(
            Planned(
                folder,
                config,
                tuple(record["stages"]),
                named.get(folder.name, folder.name),
                only,
                heard,
                whole=len(only) == len(said),
                tokens=sum(one.n_tokens for one in said if one.utterance_id in only),
            )
        )
    if not planned:
        raise MissingInput(f"no test set of the runs with shipped weights is in {turns_folder(profile)}")
    return planned


def _work(planned: list[Planned], heard: Mapping[tuple[str, str], frozenset[str]]) -> list[float]:
    """Return an estimate of each run's core-seconds.

    Frames and transcripts count for the first run that needs them, and the start for the first of all.
    """
    made, work = set(), []
    for run in planned:
        seconds = AN_ANSWER * len(run.only) + A_TOKEN * run.tokens
        needed = [(run.heard, FRAMES_OF_A_TURN * len(heard[run.hearing]))]
        if run.config.evaluation.text == "asr":
            needed.append((run.only, RECOGNITION_OF_A_TURN * len(run.only)))
        for kind, (turns, cost) in enumerate(needed):
            if turns and (key := (kind, run.hearing)) not in made:
                made.add(key)
                seconds += cost
        work.append(seconds)
    return [START + work[0], *work[1:]]


def _told_first(planned: list[Planned], seconds: float, threads: int) -> str:
    splits = sorted({run.split for run in planned})
    n = sum(len(run.only) for run in planned)
    shares = {run.split: len(run.only) for run in planned}
    of_each = ", ".join(f"{shares[split]} turns of {split}" for split in splits)
    return (
        f"{len(planned)} runs answer {of_each} again, {n} answers in all. That takes about "
        f"{_minutes(seconds)} on {threads} CPU core{'s' * (threads > 1)} with AVX2."
    )


def _minutes(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min"


def _records(profile: str) -> Iterator[tuple[Path, dict]]:
    for file in sorted(paths.results(profile).glob("runs/[!.]*/run.json")):
        record = runs.read_json(file, runs.DELETE_FOLDER)
        if record["status"] == Status.OK and record["stages"]:
            yield file.parent, record


def _compared(profile: str, run: Planned, again: Path) -> Verified:
    metric = TASKS[run.config.evaluation.task].main.name
    stored = runs.read_json(run.folder / "score.json")
    scores = (stored, rescore.scored(run.folder, run.only), runs.read_json(again / "score.json"))
    whole, same, now = (versions.shown(one, profile)["metrics"][metric] for one in scores)
    said = (read_predictions(folder / PREDICTIONS, runs.DELETE_FOLDER) for folder in (run.folder, again))
    old, new = ({answer.example_id: answer.raw for answer in answers} for answers in said)
    return Verified(
        run=run.folder.name,
        variant=run.name,
        split=run.split,
        metric=metric,
        whole=_on_record(whole),
        same=_on_record(same),
        again=now["value"],
        same_answers=sum(old.get(id) == text for id, text in new.items()),
        n=len(new),
    )


def _on_record(found: Mapping) -> OnRecord:
    return OnRecord(found["value"], found["low"], found["high"])


def _names(profile: str) -> dict[str, str]:
    """Return digest -> the first study and variant that have this run."""
    planned = studies.plan(studies.known_studies(), profile, ["all"])
    return {run.digest: f"{run.study} {run.variant}" for run in reversed(planned.runs)}
