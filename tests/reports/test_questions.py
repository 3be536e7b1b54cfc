"""What two studies show beside the common table: answers by question, and F1 by level."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from speechllm_bench.evaluation import score
from speechllm_bench.reports import measured, show, sizes, tables
from speechllm_bench.storage.schema import Prediction


def prediction(i: int, task: str, gold: str, raw: str, asks: str) -> Prediction:
    return Prediction(f"e{i}", f"u{i}", f"s{i % 4}", task, raw, gold, (asks,), 3, "to rome")


def row(
    variant: str,
    scored: dict | None,
    seed: int = 0,
    described: float | None = None,
    hears: bool = True,
    **evaluation,
) -> dict:
    usual = {"task": "slots", "audio": "own", "context": None, "distractors": None}
    usual |= {"answerer": "model", "wording": None, "slot_types": "in_domain", "split": "A-test"}
    stage = SimpleNamespace(described=described)
    evaluated = SimpleNamespace(**usual | evaluation)
    config = SimpleNamespace(evaluation=evaluated, stages=[stage], hears=hears)
    run = SimpleNamespace(config=config, name=variant)
    return {"variant": variant, "seed": seed, "run": run, "score": scored, "record": None, "status": "ok"}


def answered(*right: bool) -> dict:
    """Two questions on numbers, then on persons: `yes` is wanted, and said where right."""
    kinds = ["number", "number", *["person"] * (len(right) - 2)]
    gold = ["one", "two", *["yes"] * (len(right) - 2)]
    rows = [
        prediction(i, "sit", g, g if r else "no", k) for i, (g, r, k) in enumerate(zip(gold, right, kinds))
    ]
    return score.score_task("sit", rows)


def filled(right: int) -> dict:
    rome, oslo = (json.dumps({"city": city}) for city in ("rome", "oslo"))
    rows = [prediction(i, "slots", rome, rome if i < right else oslo, "city") for i in range(20)]
    return score.score_task("slots", rows)


def test_answers_count_but_for_case_and_spaces():
    found = score.score_task(
        "sit",
        [
            prediction(0, "sit", "book a room", " Book a  ROOM", "intent"),
            prediction(1, "sit", "yes", "yes no", "when"),
        ],
    )
    assert found["metrics"]["accuracy"]["value"] == 0.5
    assert found["answers"] == {
        "intent": {"n": 1, "right": 1, "commonest": 1},
        "when": {"n": 1, "right": 0, "commonest": 1},
    }


def test_accuracy_by_question_stands_beside_the_commonest_answer():
    rows = [
        row("slots", filled(3)),
        row("sit_asked_sit", answered(True, True, True, False), task="sit"),
        row("sit_asked_sit", answered(True, False, True, False), seed=1, task="sit"),
        row("all_asked_sit", None, task="sit"),
    ]
    table = measured.by_question(rows).set_index("variant")
    assert list(table.index) == ["sit_asked_sit", "commonest answer"]
    assert table.loc["sit_asked_sit", "accuracy"] == pytest.approx(5 / 8)
    assert table.loc["sit_asked_sit", ["number", "person"]].tolist() == [0.75, 0.5]
    assert table.loc["commonest answer", ["number", "person"]].tolist() == [0.5, 1.0]
    assert measured.by_question(rows[:1]).empty


def test_other_questions_have_columns_of_their_own_and_are_not_compared():
    rows = [row("slots", filled(3)), row("sit_asked_sit", answered(True, True, True), task="sit")]
    frame = measured.study_table(rows, "slots", {}, ["slots", "sit", "sqit"]).set_index("variant")
    assert frame.loc["slots", "f1"] == pytest.approx(0.15) and frame.loc["sit_asked_sit", "accuracy"] == 1
    assert frame.loc["sit_asked_sit", ["f1", "precision", "difference"]].isna().all()
    assert frame.loc["slots", ["accuracy", "difference"]].isna().all()
    assert not frame.columns.duplicated().any()
    shown = tables.display(frame.reset_index()).set_index("Variant")
    assert shown.loc["sit_asked_sit", "Accuracy"] == "1.000 [0.978, 1.000]"
    assert "Accuracy is the share of answers that equal gold" in tables.caption(frame, "T", "slots", "mini")
    assert measured.main_metric(rows, "sit_asked_sit").value == 1
    assert show.best_run(rows).name == "slots" and show.best_run(rows[1:]).name == "sit_asked_sit"


def test_the_best_run_has_heard_and_is_of_the_first_ones_test_set():
    """Neither a text LLM that reads gold, nor the control, nor what scores higher on another test set."""
    text = row("gold", filled(20), hears=False)
    rows = [text, row("speechllm", filled(6)), row("taught", filled(9))]
    rows += [row("no_audio", filled(12), audio="other"), row("speechllm_b", filled(15), split="B-test")]
    rows += [row("unfinished", None)]
    assert show.best_run(rows).name == "taught"
    assert show.best_run(rows[4:]).name == "speechllm_b"  # the only one that was asked for
    assert show.best_run([text, rows[-1]]) is None
    assert {task: run.name for task, run in show.best_runs(rows).items()} == {"slots": "taught"}
    assert show.best_runs([text]) == {}


def test_levels_are_lines_over_context_and_over_distractors():
    rows = [row("drawn", filled(9)), row("taught", filled(9), described=0.5, wording="described")]
    rows += [row(f"context_{c}", filled(10 + c), context=c, distractors=3) for c in (3, 0, 2)]
    rows += [row(f"distractors_{d}", filled(18 - d), context=2, distractors=d) for d in (5, 1)]
    rows += [row("no_audio", filled(1), audio="other"), row("context_1", None, context=1, distractors=3)]
    frame = sizes.by_level(rows).set_index("variant")
    assert "no_audio" not in frame.index and "context_1" not in frame.index
    assert math.isnan(frame.loc["drawn", "context"]) and frame.loc["context_3", "context"] == 3
    assert frame.loc["taught", "described in training"] == 0.5
    assert frame.loc["taught", "wording"] == "described" and frame.loc["drawn", "wording"] == "named"
    figure = sizes.levels_figure(rows)
    lines = [ax.lines[0] for ax in figure.axes]
    assert [line.get_xdata().tolist() for line in lines] == [[0, 2, 3], [1, 2 + 1, 5]]
    assert lines[0].get_ydata() == pytest.approx([0.5, 0.6, 0.65])
    assert lines[1].get_ydata() == pytest.approx([0.85, 0.6, 0.65])
    assert [ax.get_xlabel() for ax in figure.axes] == ["turns of context", "distractors"]
    plt.close(figure)
    assert sizes.levels_figure(rows[:2]) is None


def test_an_answer_of_a_kind_has_no_other_kind_if_there_is_one():
    gold = '{"city": "rome", "name": "ann"}'
    raws = ['{"city": "rome", "name": "bob"}', gold, '{"city": "rome"}']
    said = [prediction(i, "slots", gold, raw, "city") for i, raw in enumerate(raws)]
    found = {kind: p.utterance_id for kind, p in show.one_of_each(said).items()}
    assert found == {"correct": "u1", "heard wrong": "u0", "missed": "u2"}


def test_one_answer_of_each_kind_of_a_task_without_slots_is_right_or_not():
    answers = enumerate(["hallo", " hello", "hullo"])
    said = [prediction(i, "transcription", "hello", raw, "") for i, raw in answers]
    found = {kind: p.utterance_id for kind, p in show.one_of_each(said).items()}
    assert found == {"as wanted": "u1", "other than wanted": "u0"}
