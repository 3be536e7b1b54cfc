"""The harnesses of benchmarks/ in small: kills at random times, and damaged answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from speechllm_bench.paths import PROJECT

sys.path.insert(0, str(PROJECT / "benchmarks"))

import fuzz
import kills

KILLS, ANSWERS = 6, 2000


@pytest.fixture
def found(tmp_path: Path, tiny_backbones: Path, monkeypatch) -> kills.Found:
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", os.environ["SPEECHLLM_BENCH_HOME"])
    backbones = (str(tiny_backbones / name) for name in ("whisper", "llm"))
    return kills.kills(tmp_path, *backbones, most=KILLS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="trials are forked")
def test_nothing_is_lost_false_or_different_after_kills(found):
    assert found.faults == {column: [] for column in kills.COLUMNS}
    assert found.kills.total() == KILLS and found.runs >= 2  # one of them was never killed


def test_the_harness_sees_what_is_torn_and_lost(tmp_path):
    run = tmp_path / "results" / "smoke" / "runs" / "d"
    run.mkdir(parents=True)
    for name in ("run.json", "curve.csv", "score.json", "predictions.jsonl.gz"):
        (run / name).write_text("{}")
    before = kills.finished(tmp_path)
    assert list(before) == ["runs/d"] and kills.torn(tmp_path) == []
    (run / "score.json").write_text("")
    assert kills.finished(tmp_path) != before
    assert kills.torn(tmp_path) == [
        "runs/d has no score.json",
        "results/smoke/runs/d/score.json cannot be read",
    ]
    (run / "run.json").unlink()
    assert "runs/d has no run.json" in kills.torn(tmp_path)


def test_no_answer_is_raised_on_or_scored_out_of_range():
    found = fuzz.fuzz(ANSWERS)
    assert sum(counted["answers"] for counted in found.values()) >= ANSWERS
    assert not [key for counted in found.values() for key in counted if key != "answers"], fuzz.table(found)
