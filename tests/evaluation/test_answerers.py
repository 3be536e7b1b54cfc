"""Answerers without a model: verbatim, blind, and the same each time."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import answerers, score
from speechllm_bench.tasks import TASKS, slots


@pytest.fixture(scope="module")
def asked():
    utterances = call_centre.utterances("A-test", 300)
    types = call_centre.slot_types()
    return [questions.evaluation_example(u, types, "slots") for u in utterances], utterances


TRAIN = call_centre.utterances("train", 500)


def test_answers_are_runs_of_the_transcript_for_slots_that_were_asked(asked):
    said = answerers.chance_copier(*asked, TRAIN, 0)
    assert [p.example_id for p in said] == [e.id for e in asked[0]]
    filled = 0
    for prediction in said:
        for name, value in slots.parse(prediction.raw).items():
            assert name in prediction.asked
            assert f" {value} " in f" {prediction.transcript} "
            filled += 1
    wanted = sum(len(slots.parse(p.gold)) for p in said)
    assert 0.7 < filled / wanted < 1.4  # as many as there are, but not the same


def test_the_seed_decides_and_the_order_does_not(asked):
    examples, utterances = asked
    first = answerers.chance_copier(examples, utterances, TRAIN, 0)
    assert answerers.chance_copier(examples[::-1], utterances[::-1], TRAIN, 0)[::-1] == first
    assert answerers.chance_copier(examples, utterances, TRAIN, 1) != first


def test_chance_is_more_than_nothing_and_little(asked):
    scored = score.score_task("slots", answerers.chance_copier(*asked, TRAIN, 0))
    assert 0 < scored["metrics"]["f1"]["value"] < 0.25
    assert scored["metrics"]["parse_failures"]["value"] == 0
    assert json.dumps(scored)


def test_the_whole_transcript_finds_all_and_is_precise_in_nothing(asked):
    said = answerers.whole_transcript(*asked, TRAIN, 0)
    for prediction in said:
        answer = slots.parse(prediction.raw)
        assert set(answer) == set(prediction.asked) and set(answer.values()) == {prediction.transcript}
    metrics = score.score_task("slots", said)["metrics"]
    assert metrics["precision"]["value"] < 0.2 < metrics["recall"]["value"]
    assert metrics["exact_f1"]["value"] < metrics["f1"]["value"] < 0.35


def test_the_majority_answer_is_the_commonest_of_training(asked):
    types = call_centre.slot_types()
    examples = [questions.evaluation_example(u, types, "sentiment") for u in asked[1]]
    said = answerers.majority(examples, asked[1], TRAIN, 0)
    counted = Counter(u.sentiment for u in TRAIN)
    assert {p.raw for p in said} == {max(counted, key=counted.get)}
    scored = score.score_task("sentiment", said)
    assert 0.2 < scored["metrics"]["macro_f1"]["value"] < 1 / 3 < scored["metrics"]["weighted_f1"]["value"]


def test_every_task_names_answerers_that_there_are():
    named = [name for task in TASKS.values() for name in task.answerers]
    assert sorted(named) == sorted(answerers.ANSWERERS)


def test_without_a_sentiment_in_training_none_is_the_commonest(asked):
    with pytest.raises(UserError, match="no training turn has a sentiment"):
        answerers.majority([], [], [], 0)
