"""Either version of partial match under the plain names, as a profile shows it."""

from __future__ import annotations

import copy
import json

import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score, versions
from speechllm_bench.metrics import Counts
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import slots


def said(i, gold, raw):
    raw = raw if isinstance(raw, str) else json.dumps(raw)
    return Prediction(f"e{i}", f"u{i}", f"s{i}", "slots", raw, json.dumps(gold), (), 5, "")


GOLD = {"account": "three nine five"}
STORED = score.score_task("slots", [said(0, GOLD, {"account": "395"}), said(1, GOLD, GOLD)])


def test_profiles_until_mini_show_version_1_and_others_version_2():
    shown = {name: versions.shown_version(name) for name in ("smoke", "mini", "small", "paper")}
    assert shown == {"smoke": 1, "mini": 1, "small": 2, "paper": 2}


def test_version_1_is_the_stored_score_itself():
    assert versions.shown(STORED, "mini") is STORED
    assert versions.shown_in(STORED) == 1


def test_version_2_takes_the_plain_names_and_version_1_stands_beside():
    before = copy.deepcopy(STORED)
    shown = versions.shown(STORED, "paper")
    assert before == STORED
    assert versions.shown_in(shown) == 2 and "partial_match_v2" not in shown["versions"]
    for name in ("precision", "recall", "f1"):
        assert shown["metrics"][name] == STORED["metrics"][f"{name}_v2"]
        assert shown["metrics"][name]["value"] == 1 and STORED["metrics"][name]["value"] == 0.5
        assert f"{name}_v2" not in shown["metrics"]
    assert shown["metrics"]["f1_v1"] == STORED["metrics"]["f1"]
    # The intervals that reports draw anew are those of the counts under the same names.
    for name, metric in shown["metrics"].items():
        assert score.interval([shown], name).value == metric["value"], name
    assert score.main_metric(shown) == "f1"
    assert shown["metrics"]["exact_f1"] == STORED["metrics"]["exact_f1"]


def test_a_score_without_version_2_is_refused_where_version_2_is_shown():
    old = copy.deepcopy(STORED)
    for name in ("precision_v2", "recall_v2", "f1_v2"):
        del old["metrics"][name]
    assert versions.shown(old, "mini") is old
    with pytest.raises(
        UserError, match="no partial match of version 2; add it by: .* rescore --profile paper"
    ):
        versions.shown(old, "paper")


def test_scores_of_other_tasks_are_shown_as_they_are():
    heard = [Prediction("e", "u", "s", "transcription", "hi", "hi", (), 1, "hi")]
    stored = score.score_task("transcription", heard)
    assert versions.shown(stored, "paper") is stored and versions.shown_in(stored) == 1


def test_one_answer_is_counted_by_either_version():
    answer = slots.parse('{"account": "395", "account": "395"}')
    assert versions.counts(GOLD, answer, 1) == Counts(0, 1, 1)
    assert versions.counts(GOLD, answer, 2) == Counts(1, 2, 1)
    assert versions.counts(GOLD, None, 1) == versions.counts(GOLD, None, 2) == Counts(0, 0, 1)
