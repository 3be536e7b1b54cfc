"""Verification of one number of the tables: all its runs are made again, in a folder of their own.

Runs whose weights and test turns are shipped answer their whole test sets again. The others
are trained again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from speechllm_bench.cite import why
from speechllm_bench.commands.answering_again import Shipped, all_shipped, turns_folder
from speechllm_bench.errors import UserError
from speechllm_bench.planning import identity, studies
from speechllm_bench.running import runner
from speechllm_bench.storage import leftovers, paths, runs, sealed
from speechllm_bench.storage.numbers import Cell, Number

KEPT = ("clips", "corpora", "frames", "transcripts")  # parts of the cache that are reused


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
        return f"{self.id} = {shown}: {'lands' if self.lands else 'DOES NOT LAND'}."


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
    with leftovers.scratch(paths.cache(), "verify") as made:
        answered = _answer_again({run.digest: run for run in planned}.values(), made, tell)
        with _home(made):
            plan = studies.plan([row.study], profile, names, row.seeds)
            if plan.missing and runner.run_missing(plan, n_jobs).failures:
                raise UserError(f"{number.id} cannot be verified: not all of its runs could be made again")
            made_again = {one.key: one for one in reports.numbered(row.study, profile, row.seeds)}
    found = made_again[row.key].cells.get(number.column, Cell("nothing"))  # "nothing" if runs diverged
    return Remade(number.id, number.cell, found, answered, len(plan.missing))


def _answer_again(planned: Iterable[studies.Run], home: Path, tell: Callable[[str], None]) -> int:
    """Put the runs with shipped weights and turns into another home, with new answers.

    Return their number.
    """
    known: dict[str, Shipped] = {}
    answered = 0
    for run in sorted(planned, key=lambda run: run.stages):  # so that each model is loaded once
        if not all_shipped(run.profile, run.stages) or not turns_folder(run.profile).is_dir():
            continue
        identity.check_fetched(run.config)
        of_profile = known.setdefault(run.profile, Shipped(run.profile))
        if not of_profile.has(run.config):
            continue
        tell(f"{run.name} on {run.config.evaluation.split} ...")
        again = home / run.folder.relative_to(paths.home())
        again.mkdir(parents=True)
        device = of_profile.answer(run.config, run.stages, again)
        record = sealed.read(run.folder / "run.json", runs.DELETE_FOLDER)
        sealed.write(again / "run.json", record | {"device_kind": device})
        answered += 1
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
