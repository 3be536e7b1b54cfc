"""Marks and captions of the Markdown tables, as the page shows them.

`*` marks a difference that counts as one, `†` what rests on one seed, and `‡` what is not above the floors.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from speechllm_bench.planning import stored_runs
from speechllm_bench.planning.stored_runs import Scores, StoredRun
from speechllm_bench.reports import cells, floors, tables
from speechllm_bench.reports.claims import CAPTION, REVERSED_BY
from speechllm_bench.settings.experiments import Study
from speechllm_bench.settings.reported import ClaimConfig
from speechllm_bench.stats import ALPHA, LEAST_DIFFERENCE, ONE_SEED
from speechllm_bench.storage import paths
from speechllm_bench.storage.numbers import Row

STAR = "*"
MEANINGS = {
    STAR: f"a difference of at least {LEAST_DIFFERENCE} with p below {ALPHA} after Holm's correction",
    ONE_SEED: f"one seed: {tables.ONE_SEED_NOTE.rstrip('.')}",
    floors.BELOW: "not above the floors of F1, which need no hearing",
}
"""The meaning of each mark, in the words of the tables' captions."""

Found = Mapping[str, Sequence[StoredRun]]
"""The stored runs by variant."""


def marks(study: Study, row: Row, found: Found) -> dict[str, str]:
    """Return the marks of a row by column."""
    own = row.table == study.study
    return _of_table(row, found, study.baselines) if own else _of_claim(study, row, found)


def _of_table(row: Row, found: Found, baselines: Sequence[str]) -> dict[str, str]:
    """Return the marks of a row of a study's own table by column, as `tables` shows them."""
    scores = _scores(found, row.name)
    held = row.cells.get("trained_parameters")
    trained = held is not None and bool(held.value)
    shared = [seeds for name in baselines if (seeds := stored_runs.comparable(scores, _scores(found, name)))]
    rests = {"difference": len(shared[0]) if shared else 0}
    marked = {}
    for column in row.cells.keys() & set(tables.WITH_INTERVAL):
        mark = STAR if column == "difference" and _says(row, "differs", "True") else ""
        mark += ONE_SEED if trained and rests.get(column, len(scores)) == 1 else ""
        mark += floors.BELOW if column == "f1" and _says(row, "above_floors", "False") else ""
        if mark:
            marked[column] = mark
    return marked


def _of_claim(study: Study, row: Row, found: Found) -> dict[str, str]:
    """Return the mark of a claim's difference if it rests on one seed."""
    claim = by_row(study).get(row.name)
    if claim is None or "difference" not in row.cells:
        return {}
    seeds = stored_runs.shared_seeds(_scores(found, name) for name in claim.variants)
    return {"difference": ONE_SEED} if len(seeds) == 1 else {}


def by_row(study: Study) -> dict[str, ClaimConfig]:
    """Return the claims by the names of their rows."""
    return {cells.claim_row(claim.variants): claim for claim in study.claims}


def claims_of(study: Study) -> dict[str, dict]:
    """Return sentence, source and compared variants of each claim, by the name of its row."""
    return {row: claim_shown(study, claim) for row, claim in by_row(study).items()}


def claim_shown(study: Study, claim: ClaimConfig) -> dict[str, str]:
    return {"claim": claim.claim, "source": claim.source, "compared": study.compared(claim)}


def captions(study: Study, profile: str, rows: Sequence[Row]) -> dict[str, str]:
    """Return the captions of a study's tables, from their Markdown files or else from their sample sizes."""
    made = {}
    for table in dict.fromkeys(row.table for row in rows):
        file = paths.results(profile) / "tables" / f"{table}.md"
        mine = [row for row in rows if row.table == table and row.n]
        if file.is_file():
            made[table] = html.unescape(file.read_text("utf-8").split("\n\n")[0])
        elif mine:
            counted = zip(*((row.n, row.speakers, len(row.seeds)) for row in mine), strict=True)
            rests = tables.size(*([n for n in numbers if n is not None] for numbers in counted))
            last = [CAPTION] if table == f"{study.study}_claims" else []
            against = [REVERSED_BY] if any("reversed_by" in row.cells for row in mine) else []
            made[table] = " ".join([f"{study.title}, profile {profile}.", rests, *last, *against])
    return made


def _scores(found: Found, name: str) -> Scores:
    return {one.seed: one.score for one in found.get(name, ()) if one.score}


def _says(row: Row, column: str, text: str) -> bool:
    return column in row.cells and row.cells[column].shown == text
