"""Scores of answers with traces, counted on answers made by hand."""

from __future__ import annotations

import json

import pytest

from speechllm_bench.evaluation import score
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import trace, traced_slots
from speechllm_bench.tasks.trace import Trace

SAID = "to rome on monday"
GOLD = '{"city": "rome"}'


def thought(city: str, transcript: str = SAID) -> str:
    return trace.write(Trace({"city": city}, transcript, (city,), {"city": f"{city} after to"}))


def prediction(i: int, raw: str, n_tokens: int = 10, trace_tokens: int = 0) -> Prediction:
    return Prediction(f"e{i}", f"u{i}", f"s{i % 2}", "slots_think", raw, thought("rome"), ("city",), n_tokens,
                      SAID, trace_tokens)  # fmt: skip


ANSWERS = [
    prediction(0, thought("rome"), 50, 40),
    prediction(1, thought("oslo"), 60, 50),  # not in its transcript
    prediction(2, thought("oslo", "to oslo on monday"), 50, 42),  # heard wrong, and faithful to it
    prediction(3, GOLD, 10),  # does not think
    prediction(4, thought("rome").replace("</response>", "") + " {}", 52, 40),  # two objects: no answer
]


def values(predictions, task="slots_think") -> dict[str, float]:
    found = score.score_task(task, predictions)
    return {name: metric["value"] for name, metric in found["metrics"].items()}


def test_every_count_by_hand():
    found = score.score_task("slots_think", ANSWERS)
    metrics = {name: metric["value"] for name, metric in found["metrics"].items()}
    assert metrics["recall"] == pytest.approx(2 / 5) and metrics["precision"] == pytest.approx(2 / 4)
    assert metrics["parse_failures"] == pytest.approx(1 / 5)
    assert metrics["tokens"] == pytest.approx(222 / 5)
    assert metrics["trace_tokens"] == pytest.approx((40 + 50 + 42 + 40) / 4)  # of those that think
    assert metrics["obedience"] == pytest.approx(4 / 5)
    assert metrics["trace_wer"] == pytest.approx(1 / 16)  # one word of four transcripts of four words
    assert metrics["faithfulness"] == pytest.approx(2 / 3)  # of the three with a trace and a value
    assert metrics["grounding"] == 1  # each of the three says why it takes what it answers
    assert metrics["malformed"] == pytest.approx(1 / 5)
    kinds = {kind: n for kind, n in found["malformed_kinds"].items() if n}
    assert kinds == {"response not closed": 1, "two answers": 1}
    assert score.interval([json.loads(json.dumps(found))], "obedience").n == 5


def test_obedience_is_to_the_mode_asked_for():
    assert values(ANSWERS, "slots_no_think")["obedience"] == pytest.approx(1 / 5)
    assert values(ANSWERS, "slots_reasoning")["obedience"] == pytest.approx(4 / 5)
    empty = prediction(0, f"<think>\n</think>{GOLD}", 12, 4)  # an empty thought is none
    assert values([empty], "slots_no_think")["obedience"] == 1
    assert values([empty])["trace_tokens"] == 0


def test_f1_is_that_of_the_response_whatever_the_mode():
    right = [prediction(0, thought("rome")), prediction(1, GOLD)]
    for task in ("slots_think", "slots_no_think"):
        assert values(right, task)["f1"] == values(right, task)["exact_f1"] == 1
    plain = score.score_task("slots", [prediction(1, GOLD)], trace_answer)
    assert plain["metrics"]["f1"]["value"] == 1 and plain["metrics"]["tokens"]["value"] == 10


def trace_answer(raw: str):
    return trace.parse(raw).answer


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (thought("rome"), (1, 1)),
        (thought("Rome"), (1, 1)),
        (thought("rom"), (0, 1)),  # words, not letters
        (thought("on rome"), (0, 1)),
        (trace.write(Trace({}, SAID, (), {"city": "not said"})), (0, 0)),  # nothing to compare
        (thought("rome").replace("</think>", "</think>{"), (1, 1)),
        (GOLD, (0, 0)),
        ("<think>caller: to rome", (0, 0)),
    ],
)
def test_faithful_means_that_all_values_occur_in_the_traces_own_transcript(said, counts):
    assert traced_slots.faithful(trace.parse(said)) == counts


@pytest.mark.parametrize(
    ("answer", "reasons", "counts"),
    [
        ({"city": "rome"}, {"city": "Rome after to"}, (1, 1)),
        ({"city": "rome"}, {"city": "oslo after to", "day": "rome"}, (0, 1)),  # another slot's reason
        ({"city": "rome", "day": "monday"}, {"city": "rome after to"}, (0, 1)),  # no reason at all
        ({}, {"city": "not said"}, (0, 0)),
        ({"city": "rome"}, None, (0, 0)),
    ],
)
def test_grounded_means_that_every_value_stands_in_the_reason_of_its_slot(answer, reasons, counts):
    assert traced_slots.grounded(Trace(answer, SAID, (), reasons)) == counts
