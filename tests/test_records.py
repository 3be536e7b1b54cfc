"""The records that the repository keeps are those of its studies, backbones and corpus as they are now."""

from __future__ import annotations

import pytest

from speechllm_bench import paths, studies

KEPT = sorted((paths.PROJECT / "results").glob("*/runs/*/run.json"))


@pytest.mark.parametrize("profile", sorted({file.parents[2].name for file in KEPT} - {"smoke"}))
def test_every_record_kept_belongs_to_a_study(profile):
    """A record of earlier weights or settings would stand beside tables that it has no part in."""
    known = set()
    for study in studies.known_studies():
        # What cannot be run here, for want of a backbone, has left no record either.
        known |= {row["run"].digest for row in studies.records(study, profile) if row["run"]}
    strangers = [
        file.parent.name for file in KEPT if file.parents[2].name == profile and file.parent.name not in known
    ]
    assert strangers == []
