"""The harnesses of benchmarks/ in small: kills at random times, and damaged answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from speechllm_bench.storage.paths import PROJECT

sys.path.insert(0, str(PROJECT / "benchmarks"))

import fuzz
import kills

KILLS, ANSWERS = 6, 2000


@pytest.fixture
def found(tmp_path: Path, tiny_backbones: Path, monkeypatch) -> list[kills.Found]:
    for name in ("SPEECHLLM_BENCH_HOME", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    backbones = (str(tiny_backbones / name) for name in ("whisper", "llm"))
    return list(kills.kills(tmp_path, *backbones, most=KILLS))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="trials are forked")
def test_nothing_is_lost_false_or_different_after_kills(found):
    assert not [fault for trial in found for fault in trial.faults]
    assert sum(trial.kills.total() for trial in found) == KILLS


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
    found = list(fuzz.fuzz(ANSWERS))
    assert sum(counted[fuzz.TRIED] for _, counted in found) >= ANSWERS
    assert not [(task, key) for task, counted in found for key in counted if key != fuzz.TRIED]
