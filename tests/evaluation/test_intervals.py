"""Intervals that are kept are those that would be drawn, and none is drawn twice."""

from __future__ import annotations

import json

import numpy as np
import pytest

from speechllm_bench import stats
from speechllm_bench.evaluation import intervals
from speechllm_bench.metrics import f1, precision
from speechllm_bench.stats import Comparison


def system(right: float) -> stats.SpeakerSums:
    sums = np.random.default_rng(0).random((1, 5, 3))
    sums[..., 0] *= right
    return stats.SpeakerSums(50, "asked", tuple("abcde"), sums)


def drawn(systems, weights=(1,), rule=f1, variance=None) -> Comparison:
    return intervals.interval_of(
        systems, weights, rule, variance,
        lambda: stats.contrast(systems, weights, rule, np.random.default_rng(0), variance, 100),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(intervals, "_known", {})


def never(*_):
    raise AssertionError("it is drawn again")


def test_what_was_drawn_is_known_to_a_later_process(tmp_path, monkeypatch):
    file = tmp_path / "kept.json"
    with intervals.kept(file):
        first = [drawn([system(0.5)]), drawn([system(0.5), system(0.2)], (1, -1), variance=0.01)]
    monkeypatch.setattr(intervals, "_known", {})
    monkeypatch.setattr(stats, "contrast", never)
    with intervals.kept(file):
        assert [drawn([system(0.5)]), drawn([system(0.5), system(0.2)], (1, -1), variance=0.01)] == first


@pytest.mark.parametrize(
    "other",
    [
        {"systems": [system(0.4)]},
        {"systems": [stats.SpeakerSums(50, "other", tuple("abcde"), system(0.5).sums)]},
        {"weights": (-1,)},
        {"rule": precision},
        {"variance": 0.01},
    ],
)
def test_whatever_an_interval_rests_on_makes_it_another(other):
    one = {"systems": [system(0.5)], "weights": (1,), "rule": f1, "variance": None}
    drawn(**one)
    drawn(**one | other)
    assert len(intervals._known) == 2


def test_what_is_not_used_any_more_is_dropped_and_a_damaged_file_holds_none(tmp_path, monkeypatch):
    file = tmp_path / "kept.json"
    with intervals.kept(file):
        drawn([system(0.5)])
        drawn([system(0.4)])
    with intervals.kept(file, others=True):
        drawn([system(0.3)])
    assert len(json.loads(file.read_text())["intervals"]) == 3
    with intervals.kept(file):
        drawn([system(0.4)])
    stored = json.loads(file.read_text())
    (key,) = stored["intervals"]
    stored["intervals"][key][0] += 0.1  # a flipped bit, as it were
    file.write_text(json.dumps(stored))
    expected = intervals._known[key]
    monkeypatch.setattr(intervals, "_known", {})
    with intervals.kept(file):
        assert drawn([system(0.4)]) == expected
