"""The records that the repository keeps are those of its studies, backbones and corpus as they are now."""

from __future__ import annotations

import re

import pytest

from speechllm_bench.planning import studies
from speechllm_bench.storage import paths

KEPT = sorted((paths.PROJECT / "results").glob("*/runs/*/run.json"))
NOTEBOOKS = sorted((paths.PROJECT / "results" / "mini" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("profile", sorted({file.parents[2].name for file in KEPT} - {"smoke"}))
def test_every_record_kept_belongs_to_a_study(profile):
    """A record of earlier weights or settings would stand beside tables that it has no part in."""
    known = set()
    for study in studies.known_studies():
        found = [row["run"] for row in studies.records(study, profile)]
        known |= {run.digest for run in found if run}
    strangers = [
        file.parent.name for file in KEPT if file.parents[2].name == profile and file.parent.name not in known
    ]
    assert strangers == []


def _rests_on(text: str) -> set[tuple[str, ...]]:
    """Turns, speakers and seeds that captions tell, in the words of today or of notebooks made before."""
    count = r"(\d+(?: to \d+)?)"
    size = rf"n = {count} utterances of {count} speakers; "
    told = rf"{size}{count} seeds? per variant", rf"{size}seeds a variant: {count}"
    return {found for words in told for found in re.findall(words, text)}


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_an_executed_notebook_rests_on_what_its_table_rests_on(file):
    """Turns, speakers and seeds: a notebook of one seed beside a table of three tells other numbers."""
    caption = (file.parents[1] / "tables" / f"{file.stem}.md").read_text("utf-8").split("\n\n")[0]
    (of_table,) = _rests_on(caption)
    assert of_table in _rests_on(file.read_text("utf-8"))
