"""Entities by an annotator: what it is shown, errors that are drawn, what two filters see of them."""

from __future__ import annotations

from collections import Counter

import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.annotators import Question, drawn, entities
from speechllm_bench.data.annotators.labels import train_labels
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.errors import UserError
from speechllm_bench.metrics import f1, ner_f1, total
from speechllm_bench.reports.named_entities import LABEL_KINDS as KINDS
from speechllm_bench.reports.named_entities import label_kinds as kinds
from speechllm_bench.settings.config import AnnotationConfig
from speechllm_bench.storage.schema import ENTITY_TAGS, Entity, Utterance
from speechllm_bench.tasks import AUDIO, ner

TYPES = call_centre.slot_types()
TRAIN = call_centre.utterances("train", 3000)
SHOTS = entities.few_shots(TRAIN)
GOLD = {u.id: entities.gold(u) for u in TRAIN}


def asked(turns) -> list[Question]:
    return [Question(u, questions.evaluation_example(u, TYPES, "ner")) for u in turns]


def ends(labels: dict[str, entities.Labels]) -> Counter[str]:
    return sum((kinds(GOLD[u.id], labels[u.id], u.transcript) for u in TRAIN), Counter())


def f1_of(labels: dict[str, entities.Labels]) -> float:
    return float(f1(total(ner_f1.counts(GOLD[id], labels[id]) for id in GOLD)))


def test_examples_are_balanced_over_tags_and_come_from_train_alone():
    shown = Counter(tag for shot in SHOTS for tag, _ in entities.gold(shot))
    rare = min(Counter(tag for labels in GOLD.values() for tag, _ in labels).values())
    assert rare * 8 < len(TRAIN) / 10  # balance has to be made
    assert set(shown) == set(ENTITY_TAGS) and min(shown.values()) >= 3
    assert max(shown.values()) <= 3 * min(shown.values())  # what a turn says beside the tag that it is for
    assert sum(not entities.gold(shot) for shot in SHOTS) == 3
    assert len({shot.id for shot in SHOTS}) == len(SHOTS) == entities.SHOTS
    assert entities.few_shots(TRAIN) == SHOTS
    for split in ("validation", "A-test", "B-test", "zoo"):
        with pytest.raises(UserError, match=f"learn from the split train alone, not from {split}"):
            entities.few_shots([*TRAIN[:50], call_centre.utterances(split, 1)[0]])


def test_few_turns_are_all_shown():
    few = TRAIN[:5]
    assert sorted(u.id for u in entities.few_shots(few)) == sorted(u.id for u in few)


def test_an_annotator_sees_gold_of_other_turns_and_never_of_the_one_it_labels():
    question = asked([next(u for u in TRAIN if u.entities and u not in SHOTS)])[0]
    assert question.example.target != "{}"
    prompt = entities.shown(question, SHOTS).prompt
    assert prompt.count(AUDIO) == 1 and prompt.endswith(question.example.prompt)
    assert prompt.count(ner.INSTRUCTION[None]) == len(SHOTS) + 1
    assert all(ner.target(entities.gold(shot)) in prompt for shot in SHOTS)
    assert question.example.target not in prompt
    system, user = entities.request(SHOTS).messages(question)
    assert f"caller: {question.utterance.transcript}\n{ner.INSTRUCTION[None]}" in user["content"]
    assert AUDIO not in user["content"] and question.example.target not in system["content"]
    assert question.example.target not in user["content"]
    of_a_shot = entities.shown(asked(SHOTS[:1])[0], SHOTS).prompt
    assert of_a_shot.count(ner.INSTRUCTION[None]) == len(SHOTS) and SHOTS[0].transcript not in of_a_shot


def test_the_filters_take_out_what_was_not_said_and_what_has_no_tag():
    labels = [("PLACE", "rome"), ("PLACE", "rom"), ("misc", "rome"), ("WHEN", "may"), ("misc", "oslo")]
    assert entities.said(labels, "to rome please") == [("PLACE", "rome"), ("misc", "rome")]
    assert entities.meaningful(labels, "") == [("PLACE", "rome"), ("PLACE", "rom"), ("WHEN", "may")]
    assert entities.filtered(labels, "to rome please") == [("PLACE", "rome")]


def test_without_noise_labels_are_gold():
    assert train_labels(TRAIN, AnnotationConfig(noise=0, filtered=False), 0) == GOLD
    assert train_labels(TRAIN, AnnotationConfig(noise=0, filtered=True), 0) == GOLD


def test_drawn_errors_are_of_every_kind_and_the_filters_do_not_see_all():
    written = train_labels(TRAIN, AnnotationConfig(noise=0.4, filtered=False), 0)
    kept = train_labels(TRAIN, AnnotationConfig(noise=0.4, filtered=True), 0)
    before, after = ends(written), ends(kept)
    n = sum(map(len, GOLD.values()))
    assert all(before[kind] > 0.02 * n for kind in KINDS)
    assert 0.55 < before["right"] / n < 0.65
    assert after["not said"] == after["meaningless tag"] == 0
    assert after["right"] == before["right"]  # the filters take out nothing that is right
    for inside in ("wrong tag", "wrong boundary", "no entity"):
        assert after[inside] == before[inside]
    assert after["omitted"] == before["omitted"] + before["meaningless tag"]
    assert f1_of(written) < f1_of(kept) < 0.8
    assert any(written[u.id] for u in TRAIN if not u.entities)  # also where there is nothing to find
    for u in TRAIN:
        assert Counter(ner.parse(ner.target(written[u.id]))) == Counter(written[u.id])


def test_noise_costs_more_the_more_of_it_and_adds_to_the_same_errors():
    levels = [train_labels(TRAIN, AnnotationConfig(noise=n, filtered=False), 3) for n in (0, 0.1, 0.2, 0.4)]
    scores = [f1_of(labels) for labels in levels]
    assert scores == sorted(scores, reverse=True) and scores[1] - scores[3] > 0.2
    for u in TRAIN:
        less, more = (Counter(labels[u.id]) - Counter(GOLD[u.id]) for labels in levels[1:3])
        assert less <= more


def test_labels_are_a_function_of_turn_seed_noise_and_filter():
    annotator = drawn.Drawn(0, 0.4, SHOTS)
    alone = [annotator.labels(u) for u in reversed(TRAIN)]
    assert annotator.annotate(asked(TRAIN)).answers == alone[::-1]
    other = drawn.Drawn(1, 0.4, SHOTS)
    assert sum(annotator.labels(u) != other.labels(u) for u in TRAIN) > 300


def test_what_was_not_said_stands_in_an_example():
    copied = {label for shot in SHOTS for label in entities.gold(shot)}
    for u in TRAIN:
        for label in drawn.Drawn(0, 0.4, SHOTS).labels(u):
            assert label[1] in u.transcript or label in copied


def test_an_entity_that_is_all_that_is_said_can_be_labelled_in_any_way():
    turn = Utterance("u", "train", "c", 1, "d", "", "", "rome", (), (Entity("PLACE", "rome", 0, 4),),
                     "neutral", (), "s")  # fmt: skip
    found = [drawn.Drawn(seed, 1.0, ()).labels(turn) for seed in range(100)]
    assert {phrase for labels in found for _, phrase in labels} == {"rome"}
    assert [] in found and not any(("PLACE", "rome") in labels for labels in found)


def test_a_question_is_learned_with_the_annotators_labels_and_other_tasks_are_not_touched():
    u = next(u for u in TRAIN if u.entities)
    labels = {u.id: [("misc", "a b"), ("PLACE", "c")]}

    def put(task, labels):
        return questions.training_example(u, TYPES, {task: 1.0}, 0, 0, labels=labels)

    assert put("ner", labels).target == '{"misc": "a b", "place": "c"}'
    assert put("ner", labels).prompt == put("ner", None).prompt
    assert put("ner", None).target == ner.target(GOLD[u.id])
    for task in ("transcription", "sentiment", "slots"):
        assert put(task, labels) == put(task, None)
