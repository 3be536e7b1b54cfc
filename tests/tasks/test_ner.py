"""Entities and sentiment: what is asked, what is to be said, and that the gold answer comes back."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.storage.schema import ENTITY_TAGS, SENTIMENTS, Entity, Utterance
from speechllm_bench.tasks import AUDIO, ner, sentiment
from speechllm_bench.tasks.task import Draw

SPLITS = ("train", "validation", "A-test", "B-test")
TYPES = call_centre.slot_types()


@cache
def corpus(split: str) -> list[Utterance]:
    return call_centre.utterances(split, 1500)


@pytest.mark.parametrize("split", SPLITS)
def test_the_parsed_target_is_the_gold_answer(split):
    tags, several = set(), 0
    for utterance in corpus(split):
        example = questions.evaluation_example(utterance, TYPES, "ner")
        wanted = [(entity.tag, entity.text) for entity in utterance.entities]
        assert Counter(ner.parse(example.target)) == Counter(wanted)
        assert all(phrase in utterance.transcript for _, phrase in wanted)
        tags |= {tag for tag, _ in wanted}
        several += len(wanted) > len({tag for tag, _ in wanted})
        feeling = questions.evaluation_example(utterance, TYPES, "sentiment")
        assert sentiment.parse(feeling.target) == utterance.sentiment
    assert several and tags == set(ENTITY_TAGS)
    assert {u.sentiment for u in corpus(split)} == set(SENTIMENTS)


def test_prompts_name_what_there_is_and_hold_no_context():
    one = corpus("A-test")[0]
    example = questions.training_example(one, TYPES, {"ner": 1.0}, 0, 0)
    listed = "when, quantity, place, group, organisation, law, person"
    assert example.prompt == f"caller:{AUDIO}\nfill in as json: {listed}"
    example = questions.training_example(one, TYPES, {"sentiment": 1.0}, 0, 0)
    assert example.prompt == f"caller:{AUDIO}\nsentiment: negative, neutral or positive"
    assert example.task == "sentiment" and example.id.endswith("/sentiment")


def spoken(*entities: tuple[str, str]) -> Utterance:
    found = tuple(Entity(tag, text, 0, len(text)) for tag, text in entities)
    return Utterance("u", "train", "c", 1, "d", "", "", "", (), found, "neutral", (), "s")


def test_a_tag_that_there_is_not_is_written_and_read_as_it_is():
    labels = [("misc", "a b"), ("PLACE", "rome")]
    assert ner.target(labels) == '{"misc": "a b", "place": "rome"}'
    assert ner.parse(ner.target(labels)) == labels


def test_the_same_entity_twice_stays_twice():
    twice = spoken(("PLACE", "rome"), ("WHEN", "may"), ("PLACE", "rome"), ("PLACE", "zürich"))
    example = ner.example(twice, Draw(TYPES, random.Random(0)))
    assert example.target == '{"place": ["rome", "rome", "zürich"], "when": "may"}'
    assert Counter(ner.parse(example.target))["PLACE", "rome"] == 2
    assert ner.example(spoken(), Draw(TYPES, random.Random(0))).target == "{}"


@pytest.mark.parametrize(
    ("raw", "entities"),
    [
        ("{}", []),
        (' {"place": "rome"} ', [("PLACE", "rome")]),
        ('{"place": ["rome"], "place": ["york"]}', [("PLACE", "rome"), ("PLACE", "york")]),
        ('{"place": ["rome", null, "", 3, ["x"]], "when": {"a": "b"}}', [("PLACE", "rome")]),
        ('{"planet": ["new  york "]}', [("planet", "new york")]),  # a wrong answer is an answer
        ('{"place": ["rome"', None),
        ('{"place": ["rome"]} yes', None),
        ('["rome"]', None),
        ("rome", None),
        ("", None),
        ("[" * 100_000, None),
    ],
)
def test_what_an_answer_says(raw, entities):
    assert ner.parse(raw) == entities


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("negative", "negative"),
        (" Positive.\n", "positive"),
        ("the caller is neutral", "neutral"),
        ("neutral neutral", "neutral"),
        ("positive or negative", None),
        ("nonnegative", None),
        ("angry", None),
        ("", None),
    ],
)
def test_which_sentiment_an_answer_names(raw, said):
    assert sentiment.parse(raw) == said
