"""Traces by either annotator: right by construction, or checked; every kind of wrong one is caught."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from embedded_annotator import Embedded

from speechllm_bench.data import questions
from speechllm_bench.data.annotators import Annotated, Question, api, stored
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Example, SlotValue, Utterance
from speechllm_bench.tasks import slots, trace
from speechllm_bench.tasks.trace import Trace

TYPES = call_centre.slot_types()
SAID = "to rome on monday"
TURN = Utterance("u", "train", "c", 1, "d", "", "", SAID, (SlotValue("city", "rome", "rome", 3, 7),
                 SlotValue("day", "monday", "monday", 11, 17)), (), "", (), "s")  # fmt: skip
ASKED = ("city", "day", "name")
QUESTION = Question(
    TURN, Example("u/slots", "u", "slots", "", slots.target({"city": "rome", "day": "monday"}), ASKED)
)
RIGHT = Trace(
    {"city": "rome", "day": "monday"},
    SAID,
    ("rome", "monday"),
    {"city": "rome after to", "day": "monday after on", "name": "not said"},
)


def asked(split: str, ood: bool = False) -> list[Question]:
    return [
        Question(u, questions.evaluation_example(u, TYPES, "slots", ood))
        for u in call_centre.utterances(split, 300)
    ]


@pytest.mark.parametrize(
    ("split", "ood"), [("train", False), ("validation", False), ("B-test", False), ("B-test", True)]
)
def test_the_embedded_annotator_is_right_over_the_corpus_also_as_text(split, ood):
    given = asked(split, ood)
    annotated = Embedded(seed=1).annotate(given)
    assert len(annotated.answers) == len(given) and not annotated.rejected
    for question, written in zip(given, annotated.answers):
        assert api.faults(written, question) == []
        assert api.faults(trace.parse(trace.write(written)), question) == []
    assert any(t.answer for t in annotated.answers)


def test_the_embedded_annotator_says_the_same_for_a_seed_and_varies_with_it():
    given = asked("train")[:100]
    first, same, other = (Embedded(seed).annotate(given).answers for seed in (0, 0, 1))
    assert first == same
    assert sum(a != b for a, b in zip(first, other)) > 30
    assert all((a.answer, a.transcript, a.mentions) == (b.answer, b.transcript, b.mentions)
               for a, b in zip(first, other))  # fmt: skip


def test_a_right_trace_has_no_faults():
    assert api.faults(RIGHT, QUESTION) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"transcript": None}, "no transcript"),
        ({"mentions": None}, "no mentions"),
        ({"reasons": None}, "asked slot without a reason"),
        ({"reasons": {k: v for k, v in RIGHT.reasons.items() if k != "name"}}, "asked slot without a reason"),
        ({"reasons": RIGHT.reasons | {"month": "not said"}}, "reason for a slot nobody asked for"),
        ({"transcript": "to rome on a monday"}, "transcript changed"),
        ({"mentions": ("rome", "monday", "oslo")}, "mention not in the transcript"),
        ({"answer": RIGHT.answer | {"city": "oslo"}}, "value not in the transcript"),
        ({"answer": RIGHT.answer | {"city": "rom"}}, "value not in the transcript"),  # words, not letters
        ({"mentions": ("rome",)}, "value not among the mentions"),
        ({"reasons": RIGHT.reasons | {"city": "monday after on"}}, "reason without its value"),
        ({"reasons": RIGHT.reasons | {"city": "not said, though rome"}}, "reason without its value"),
        ({"reasons": RIGHT.reasons | {"name": "rome as said"}}, "reason for a value that is not answered"),
        ({"answer": {"city": "rome"}}, "answer unlike gold"),
        ({"answer": RIGHT.answer | {"name": "rome"}}, "answer unlike gold"),
        ({"malformed": ("text behind",)}, "text behind"),
    ],
)
def test_every_kind_of_wrong_trace_is_caught(change, fault):
    assert fault in api.faults(replace(RIGHT, **change), QUESTION)


def test_a_text_without_an_answer_is_a_fault():
    assert api.faults(trace.parse(trace.write(RIGHT).replace("{", "")), QUESTION) == ["no answer"]


def test_a_question_in_english_is_stored_and_put_as_it_is(home):
    turns = [question.utterance for question in asked("train")[:4]]
    given = [
        Question(u, questions.training_example(u, TYPES, {"slots": 1.0}, 0, 0, style="english"))
        for u in turns
    ]
    name = stored.write_traces(given, Embedded(7).annotate(given), "an LLM")
    found = stored.read_traces(name)
    assert [found[u.id][0] for u in turns] == [q.example for q in given] and given[0].example.system
    example = questions.training_example(
        turns[0], TYPES, {"slots_think": 1.0}, 0, 3, stored=found, style="english"
    )
    assert example.prompt.startswith(given[0].example.prompt) and example.prompt.endswith("\n/think")
    assert "First write" in example.prompt and example.system == given[0].example.system


def test_a_turn_with_a_stored_trace_is_asked_its_question_in_every_form_and_epoch(home):
    given = asked("train")[:20]
    right = Embedded(7).annotate(given)
    some = replace(right, answers=[*right.answers[:19], None], rejected=Counter({"no answer": 3}), cost="$2")
    name = stored.write_traces(given, some, "an LLM")
    assert stored.write_traces(given, replace(some, cost="nothing"), "an LLM") == name
    told = {"by": "an LLM", "asked": 20, "right": 19, "rejected": {"no answer": 3}, "cost": "$2"}
    assert stored.about("traces", name) == told and stored.about("traces", "older") is None
    found = stored.read_traces(name)
    assert found == {q.utterance.id: (q.example, t) for q, t in zip(given[:19], right.answers)}

    def put(question: Question, task: str, epoch: int, stored=None):
        return questions.training_example(question.utterance, TYPES, {task: 1.0}, 0, epoch, stored=stored)

    for question, written in zip(given[:19], right.answers):
        for epoch in (0, 1):
            example = put(question, "slots_think", epoch, found)
            assert example.target == trace.write(written)
            assert example.prompt == f"{question.example.prompt}\n/think"
            # The same question whatever is to be said to it (protocol, rule 6).
            assert put(question, "slots", epoch, found) == question.example
            quick = put(question, "slots_no_think", epoch, found)
            assert (quick.id, quick.asked) == (question.example.id, question.example.asked)
            assert quick.target == question.example.target
            words = put(question, "transcription", epoch, found)
            assert words == put(question, "transcription", epoch)
    with pytest.raises(UserError, match="another style than the profile's prompt: english; write them anew"):
        turn = given[0].utterance
        questions.training_example(turn, TYPES, {"slots": 1.0}, 0, 0, stored=found, style="english")
    last = given[19]  # without a stored trace: written from gold
    assert put(last, "slots_think", 1, found) == put(last, "slots_think", 1)


def test_missing_and_changed_traces_are_told_in_a_sentence(home):
    with pytest.raises(UserError, match="the traces 'none' that the profile names are not in"):
        stored.read_traces("none")
    given = asked("train")[:2]
    name = stored.write_traces(given, Embedded(0).annotate(given), "a test")
    stored.file("traces", name).write_text(
        stored.file("traces", name).read_text().replace("caller", "called")
    )
    with pytest.raises(UserError, match="has been changed since it was written"):
        stored.read_traces(name)


def test_stored_labels_come_back_and_their_absence_is_told(home):
    given = asked("train")[:3]
    name = stored.write_labels(given, Annotated([[("PERSON", "ada")], [], None]), "a test")
    assert stored.read_labels(name) == {
        given[0].utterance.id: [("PERSON", "ada")], given[1].utterance.id: [],
    }  # fmt: skip
    with pytest.raises(UserError, match="the labels 'none' that the profile names are not in"):
        stored.read_labels("none")
