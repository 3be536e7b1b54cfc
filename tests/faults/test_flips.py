"""Flipped bits, a few in every kind of stored file; `benchmarks/faults.py` makes thousands."""

from __future__ import annotations

import flips
import pytest
import stored_kinds

from speechllm_bench.storage import paths


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    home = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHLLM_BENCH_HOME", str(home))
        patch.setattr(paths, "PROJECT", home)
        yield stored_kinds.build(home)


def test_no_flip_is_computed_with_and_none_is_a_traceback(kinds, tmp_path):
    found = list(flips.flips(kinds, 2 * sum(len(kind.files) for kind in kinds), 0, tmp_path))
    assert not [str(flip) for flip in found if flip.outcome in flips.BAD]
    assert {flip.kind for flip in found if flip.outcome == flips.REFUSED} >= {
        *("run", "stage", "corpus", "encoder frames", "transcripts", "executed notebook", "zoo llm"),
        *("clips", "shipped turns", "annotator's replies", "annotator's labels", "cited numbers"),
    }


def test_the_harness_sees_damage_that_nothing_checks(kinds, tmp_path, monkeypatch):
    """Without seals flips are silent again: the harness can fail."""
    monkeypatch.setattr(flips.sealed, "faults", lambda *_: iter(()))
    (stage,) = [kind for kind in kinds if kind.name == "stage"]
    found = list(flips.flips([stage], 12, 0, tmp_path))
    assert flips.SILENT in {flip.outcome for flip in found}
