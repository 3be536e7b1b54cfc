"""Causes of a stale number: the components of its runs that have changed since it was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from speechllm_bench.cite import sliced
from speechllm_bench.errors import UserError
from speechllm_bench.planning import identity, places, studies
from speechllm_bench.planning.studies import Run
from speechllm_bench.reports import cells
from speechllm_bench.settings.config import RunConfig, from_stored
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.numbers import Number, Row
from speechllm_bench.storage.status import Status

NONE = "none"


@dataclass(frozen=True)
class Cause:
    """A changed component, with its value before and now."""

    component: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.component}: {self.before} → {self.now}"


def told(number: Number) -> str:
    """Return a sentence on the number, and a line for each cause of staleness."""
    found = causes(number.profile, number.row)
    if not found and sliced.SIGN not in number.column:  # a slice's number is always new
        found = _recomputed(number)
    if not found:
        return f"{number.id} = {number.cell.shown} is what this checkout and its records give."
    lines = [f"  {cause}" for cause in found]
    return "\n".join([f"{number.id} = {number.cell.shown} is stale:", *lines])


def causes(profile: str, row: Row) -> list[Cause]:
    """Return what makes a row stale, judged by its runs. Empty if the same runs are planned today.

    Raises MissingInput where a digest cannot be computed because a backbone is missing.
    """
    try:
        study, scale = studies.load(row.study, profile)
        variants = variants_of(study, row)
    except UserError as error:
        return [Cause("study", row.study, str(error))]
    if not variants:
        return [Cause("variant", row.name, f"study {row.study} has none of this name")]
    seeds = scale.seeds[: study.n_seeds]
    runs_ = [studies.run(row.study, v, seed, profile, to_run=False) for v in variants for seed in seeds]
    planned = {run.digest: run for run in runs_}
    gone = [digest for digest in row.runs if digest not in planned]
    rest = {digest: run for digest, run in planned.items() if digest not in row.runs}
    found: Counter[Cause] = Counter()
    for digest in gone:
        instead, changes = _nearest(profile, row, digest, rest)
        found.update(dict.fromkeys(changes, 1))
        if instead:
            del rest[instead]
    more = [run for run in rest.values() if run.status == Status.DONE]
    if more:
        names = ", ".join(sorted({f"{run.variant} seed {run.seed}" for run in more}))
        found[Cause("runs", f"{len(row.runs)} on record", f"besides {names}")] += 1
    return list(found)


def _recomputed(number: Number) -> list[Cause]:
    """Return a cause if the stored scores give another cell today."""
    from speechllm_bench.reports import study as reports

    rows = reports.numbered(number.row.study, number.profile, number.row.seeds or None)
    row = next((row for row in rows if row.key == number.row.key), None)
    cell = row and row.cells.get(number.column)
    what, before = "scores, or the code of tables and statistics", number.cell.shown
    return [] if cell == number.cell else [Cause(what, before, cell.shown if cell else NONE)]


def variants_of(study: Study, row: Row) -> list[str]:
    """Return the variants that a row is computed from."""
    if row.table == study.study:
        return [row.name] if row.name in study.variants else []
    if row.table == f"{study.study}_claims":
        found = (claim.variants for claim in study.claims if cells.claim_row(claim.variants) == row.name)
        return list(dict.fromkeys(next(found, ())))
    named = [part for part in row.name.split(":")[1:2] if part in study.variants]
    return named or list(study.variants)


def _nearest(
    profile: str, row: Row, digest: str, planned: Mapping[str, Run]
) -> tuple[str | None, list[Cause]]:
    """Return the digest of the planned run that differs least from a stored run, and the differences."""
    file = places.run_folder(profile, digest) / "run.json"
    if not file.is_file():
        place = paths.shown(file.parent)
        return None, [*_components(row, planned), Cause("record", digest, f"{place} is gone")]
    record = sealed.read(file, runs.DELETE_FOLDER)
    before = _leaves(_settings(record["config"]))
    compared = {}
    for other, run in planned.items():
        now = _leaves(run.config.model_dump())
        names = [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]
        compared[other] = [Cause(f"setting {n}", before.get(n, NONE), now.get(n, NONE)) for n in names]
    if not compared:
        return None, [Cause("run", digest, "is not planned any more")]
    nearest = min(compared, key=lambda other: len(compared[other]))
    if len(compared[nearest]) and all(c.component == "setting seed" for c in compared[nearest]):
        return None, [Cause("run", digest, f"seed {record['seed']} is not planned any more")]
    changed = _components(row, {nearest: planned[nearest]})
    found = [*compared[nearest], *changed]
    return nearest, found or [Cause("run", digest, nearest)]


def _components(row: Row, planned: Mapping[str, Run]) -> list[Cause]:
    """Return the backbones, corpus recipes and versions that differ from those recorded with the row."""
    now = {k: v for run in planned.values() for k, v in identity.components(run.config).items()}
    shared = [name for name in now if row.made_of.get(name, now[name]) != now[name]]
    return [Cause(name, str(row.made_of[name]), str(now[name])) for name in shared]


def _settings(config: dict) -> dict:
    """Return the settings in the form of this checkout. Settings it cannot read are returned unchanged."""
    try:
        return from_stored(RunConfig, config).model_dump(exclude_none=True)
    except ValidationError:
        return config


def _leaves(value: object, path: str = "") -> dict[str, str]:
    """Return dotted path -> value. A None counts as not set and is left out."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for name, part in inner for k, v in _leaves(part, f"{path}.{name}".lstrip(".")).items()}
    return {} if value is None else {path: str(value)}
