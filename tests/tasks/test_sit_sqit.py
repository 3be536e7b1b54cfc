"""SIT and SQIT over the embedded corpus: answers right by another way of finding them, voices kept apart."""

from __future__ import annotations

import random
import re
from collections import Counter
from functools import cache
from typing import get_args

import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.corpora import call_centre, spoken_instructions
from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import PromptStyle, RunConfig
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.tasks import AUDIO, TASKS, sit, sqit
from speechllm_bench.tasks.prompt import SYSTEM

N = 1200
MODULES = {"sit": sit, "sqit": sqit}
SPLITS = ["train", "validation", "A-test", "B-test"]
TYPES = call_centre.slot_types()
PLAIN = {text: asks for asks, texts in sit.WORDINGS.items() for text in texts if "{}" not in text}
DETAIL = [re.compile(text.format("(.+)")) for text in sit.WORDINGS["detail"]]


@cache
def asked(split: str, task: str = "sit") -> list[tuple[Utterance, Example, str]]:
    """Turn, example, and the words of its question, read or heard."""
    found = []
    for utterance in call_centre.utterances(split, N):
        example = questions.evaluation_example(utterance, TYPES, task)
        text = (
            example.prompt.split("\n")[-1]
            if task == "sit"
            else spoken_instructions.instruction_words(example.instruction)
        )
        found.append((utterance, example, text))
    return found


def gold(utterance: Utterance, text: str) -> tuple[str, str]:
    """What a question asks and its answer, from its words and the turn alone."""
    if text not in PLAIN:
        (name,) = {m[1] for pattern in DETAIL if (m := pattern.fullmatch(text))}
        there = any(s.slot == name.replace(" ", "_") for s in utterance.slots)
        return "detail", "yes" if there else "no"
    asks = PLAIN[text]
    if asks in ("person", "place", "when"):
        return asks, "yes" if sit.ENTITIES[asks] in [e.tag for e in utterance.entities] else "no"
    spoken = {
        "number": ["none", "one", "two", "three", "four"][len(utterance.slots)],
        "domain": utterance.domain.replace("_", " "),
        "intent": utterance.intent.replace("_", " "),
        "ending": " ".join(utterance.transcript.split(" ")[-3:]),
    }
    return asks, spoken[asks]


CASES = [(split, task) for split in SPLITS for task in ("sit", "sqit")]


@pytest.mark.parametrize(("split", "task"), CASES)
class TestOverTheCorpus:
    def test_the_parsed_target_is_the_gold_answer(self, split, task):
        for utterance, example, text in asked(split, task):
            asks, answer = gold(utterance, text)
            assert TASKS[task].parse(example.target) == answer and example.asked == (asks,)

    def test_everything_is_asked_in_every_wording(self, split, task):
        kinds = Counter(example.asked[0] for _, example, _ in asked(split, task))
        assert set(kinds) == set(sit.WORDINGS) - ({"detail"} if task == "sqit" else set())
        assert min(kinds.values()) > 10
        assert set(PLAIN) <= {text for _, _, text in asked(split, task)}

    def test_what_a_call_is_about_is_asked_of_a_first_turn_alone(self, split, task):
        for utterance, example, _ in asked(split, task):
            if example.asked[0] in ("domain", "intent"):
                assert [turn.role for turn in utterance.context] == ["agent"]

    def test_the_prompt_does_not_hold_the_answer(self, split, task):
        """Protocol, rule 4; nor does a spoken instruction."""
        for _, example, text in asked(split, task):
            for style in (None, *get_args(PromptStyle)):
                told = MODULES[task].INSTRUCTION[style].format(question=text)
                read = f"{SYSTEM[style]} {example.prompt.split(AUDIO)[0]} {told} {text}".lower()
                assert f" {example.target} " not in " ".join(["", *re.findall(r"[\w']+", read), ""])

    def test_no_unseen_slot_type_is_named(self, split, task):
        unseen = [t.name.replace("_", " ") for t in TYPES.values() if t.ood]
        assert not any(name in text for _, _, text in asked(split, task) for name in unseen)

    def test_yes_is_about_as_often_right_as_no(self, split, task):
        kinds = {"person", "place", "when", "detail"}
        said = Counter(e.target for _, e, _ in asked(split, task) if kinds & set(e.asked))
        assert set(said) == {"yes", "no"} and 0.4 < said["yes"] / said.total() < 0.6


@pytest.mark.parametrize("split", SPLITS)
def test_a_turn_in_which_no_time_is_given_holds_none(split):
    """Days and hours stand in slots alone, so that `no` is right: by the words of the calendar."""
    calendar = "monday tuesday wednesday thursday friday saturday sunday january february march april june"
    for utterance in call_centre.utterances(split, N):
        if not any(entity.tag == "WHEN" for entity in utterance.entities):
            assert not set(calendar.split()) & set(utterance.transcript.split())


def test_sit_reads_its_question_and_sqit_hears_it():
    for _, example, text in asked("train"):
        assert example.prompt == f"caller:{AUDIO}\n{text}" and example.instruction == ""
    prompts = {example.prompt for _, example, _ in asked("train", "sqit")}
    assert prompts == {f"caller:{AUDIO}\n{sqit.INSTRUCTION[None]}"}
    assert len({example.instruction for _, example, _ in asked("train", "sqit")}) > 100


def test_training_asks_anew_each_epoch_and_evaluation_never():
    turns = call_centre.utterances("train", 40)
    epochs = [
        [questions.training_example(u, TYPES, {"sit": 1.0}, 0, epoch).prompt for u in turns]
        for epoch in range(2)
    ]
    assert sum(a != b for a, b in zip(*epochs, strict=True)) > 20
    random.seed(7)
    assert asked("train")[0][1] == questions.evaluation_example(asked("train")[0][0], TYPES, "sit")


def test_a_parsed_answer_is_without_case_and_spaces():
    assert sit.parse("  Transfer \n money") == "transfer money" and sit.parse("") == ""


class TestSpokenInstructions:
    def test_test_voices_have_spoken_no_training_instruction(self):
        """Protocol, rule 1."""
        voices = {
            split: {u.speaker for u in some} for split, some in spoken_instructions.utterances().items()
        }
        assert set(voices) == {"train", "validation", "test"}
        assert all(len(some) == spoken_instructions.VOICES for some in voices.values())
        assert len(set.union(*voices.values())) == 3 * spoken_instructions.VOICES
        callers = {split: {u.speaker for u in call_centre.utterances(split, 3000)} for split in SPLITS}
        for split, group in spoken_instructions.SPLITS.items():
            assert voices[group] <= callers[split]

    @pytest.mark.parametrize("split", SPLITS)
    def test_every_instruction_asked_is_spoken_in_a_voice_of_its_split(self, split):
        spoken = {u.id: u for u in spoken_instructions.utterances()[spoken_instructions.SPLITS[split]]}
        for _, example, text in asked(split, "sqit"):
            assert spoken[example.instruction].transcript == text
        assert {spoken[e.instruction].speaker for _, e, _ in asked(split, "sqit")} == {
            u.speaker for u in spoken.values()
        }

    def test_they_are_the_same_each_time_and_differ_in_id_and_voice(self):
        every = [u for some in spoken_instructions.utterances().values() for u in some]
        assert every == [u for some in spoken_instructions.utterances().values() for u in some]
        assert len({u.id for u in every}) == len({u.voice.seed for u in every}) == len(every)
        assert {u.transcript for u in every} == set(PLAIN)
        assert not any(u.slots or u.context for u in every)

    def test_the_zoos_turns_have_none(self):
        with pytest.raises(UserError, match="no instructions are spoken for turns of split 'zoo'"):
            questions.evaluation_example(call_centre.utterances("zoo", 1)[0], TYPES, "sqit")

    def test_a_text_llm_cannot_be_asked_aloud(self, tiny_run):
        config = tiny_run().model_dump()
        config["stages"][0] |= {"beside": {"sqit": 4}}
        RunConfig.model_validate(config)
        silent = config | {"adapter": None, "lora": {"rank": 2, "alpha": 8, "dropout": 0.0}}
        silent["stages"][0]["train"] = ["lora"]
        with pytest.raises(ValueError, match="task sqit hears its instructions, but this variant has no"):
            RunConfig.model_validate(silent)
