"""Questions for slots at fixed levels: context, distractors, descriptions, other names; and as they were."""

from __future__ import annotations

import json
import random
import re
from functools import cache

import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.settings.evaluation_config import EvaluationConfig
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Example, SlotType, SlotValue, Turn, Utterance
from speechllm_bench.tasks import AUDIO, slots
from speechllm_bench.tasks.task import Draw

N = 800
TYPES = call_centre.slot_types()
FIXED = [
    "caller:<|audio|>\nfill in as json: day, city, first name, seat row",
    "caller: hi\nagent: where to\ncaller:<|audio|>\nfill in as json: seat row, day, city, first name",
    "caller: hi\nagent: where to\ncaller:<|audio|>\nfill in as json: day, city",
]
DRAWN = [
    "caller: hi\nagent: where to\ncaller:<|audio|>\nfill in as json: first name, city, seat row, day",
    "agent: hello\ncaller: hi\nagent: where to\ncaller:<|audio|>\nfill in as json: seat row, city",
    "caller: hi\nagent: where to\ncaller:<|audio|>\nfill in as json: city, seat row",
]
CASES = [("A-test", False), ("B-test", False), ("B-test", True)]


@cache
def asked(split: str, ood: bool = False, **asking) -> list[tuple[Utterance, Example]]:
    turns = call_centre.utterances(split, N)
    return [(u, questions.evaluation_example(u, TYPES, "slots", ood, **asking)) for u in turns]


def shown(example: Example) -> list[str]:
    return example.prompt.split("fill in as json: ")[1].split(", ")


def settings(**changes) -> EvaluationConfig:
    return EvaluationConfig(split="A-test", batch_size=1, max_new_tokens=1, **changes)


def turn(i: int) -> Utterance:
    said = (Turn("agent", "hello"), Turn("caller", "hi"), Turn("agent", "where to"))
    span = SlotValue("city", "rome", "rome", 3, 7)
    return Utterance(
        f"u{i}", "train", "c", 3, "d", "", "", "to rome", (span,), (), "", said, "s", gold=("slots",)
    )


def test_without_settings_the_questions_are_what_they_were():
    """Written down before there were any: other questions would be other numbers under the same digest."""
    names = ("city", "day", "seat_row", "first_name")
    types = {n: SlotType(n, f"the {n}", True, False, "d", (f"other {n}",)) for n in names}
    fixed = [questions.evaluation_example(turn(i), types, "slots").prompt for i in range(3)]
    drawn = [questions.training_example(turn(i), types, {"slots": 1.0}, 0, 0).prompt for i in range(3)]
    assert fixed == FIXED and drawn == DRAWN
    assert settings().asking == {}


def test_what_is_fixed_comes_back_as_keywords():
    assert settings(context=0, distractors=3).asking == {"context": 0, "distractors": 3}
    assert settings(wording="described").asking == {"wording": "described"}
    with pytest.raises(ValueError, match="context can be fixed of the task slots alone, not transcription"):
        settings(task="transcription", context=1)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_context_has_as_many_turns_as_there_are_to_show(level):
    turns = []
    for utterance, example in asked("A-test", context=level, distractors=3):
        before = example.prompt.split(f"caller:{AUDIO}")[0].splitlines()
        values = slots.parse(example.target).values()
        told = [any(re.search(rf"\b{re.escape(v)}\b", t.text) for v in values) for t in utterance.context]
        cut = next((i for i, gives_away in enumerate(reversed(told)) if gives_away), len(told))
        assert len(before) == min(level, cut)
        assert before == [f"{t.role}: {t.text}" for t in utterance.context[len(told) - len(before) :]]
        turns.append(len(before))
    assert max(turns) == level and sum(turns) / len(turns) >= 0.8 * level


@pytest.mark.parametrize("level", [1, 3, 5])
def test_distractors_are_as_many_and_fewer_are_among_more(level):
    more = asked("A-test", context=2, distractors=5)
    for (utterance, example), (_, most) in zip(
        asked("A-test", context=2, distractors=level), more, strict=True
    ):
        wanted = slots.parse(example.target)
        assert len(example.asked) == len(wanted) + level
        assert wanted == slots.parse(most.target) and set(example.asked) <= set(most.asked)
        assert not (set(example.asked) - set(wanted)) & {s.slot for s in utterance.slots}


def test_levels_leave_turns_and_answers_what_they_are():
    for (_, drawn), (_, fixed) in zip(
        asked("A-test"), asked("A-test", context=0, distractors=1), strict=True
    ):
        assert drawn.id == fixed.id and slots.parse(drawn.target) == slots.parse(fixed.target)


@pytest.mark.parametrize(("split", "ood"), CASES)
@pytest.mark.parametrize("wording", ["described", "paraphrased"])
class TestWordings:
    def test_answers_are_parsed_to_the_slots_themselves(self, split, ood, wording):
        kept = filled = 0
        for utterance, example in asked(split, ood, wording=wording):
            said = slots.parse(example.target, slots.paraphrases(TYPES))
            gold = {s.slot: s.value for s in utterance.slots if TYPES[s.slot].ood == ood}
            assert said.items() <= gold.items() and set(said) <= set(example.asked)
            kept, filled = kept + len(said), filled + len(gold)
        assert kept >= 0.98 * filled > 0  # but those that what is shown would give away

    @pytest.mark.parametrize("style", [None, "english"])
    def test_no_wanted_value_is_shown(self, split, ood, wording, style):
        for _, example in asked(split, ood, wording=wording, style=style):
            told = f"{example.system} {example.prompt.replace(AUDIO, ' ')}".lower()
            read = " " + " ".join(re.findall(r"\w+", told)) + " "
            for value in json.loads(example.target).values():
                assert " " + " ".join(re.findall(r"\w+", value)) + " " not in read

    def test_prompts_stay_short(self, split, ood, wording):
        """Protocol, rule 5: fewer than 225 tokens in nearly all."""
        if not (paths.PROJECT / "zoo" / "llm-mini" / "tokenizer.json").is_file():
            pytest.skip("zoo/llm-mini is not trained yet, and the rule counts its tokens")
        from speechllm_bench.models.inputs import prompt_halves
        from speechllm_bench.models.llm import load_tokenizer

        tokenizer = load_tokenizer("zoo/llm-mini")
        some = asked(split, ood, wording=wording)[:300]
        lengths = [sum(map(len, prompt_halves(tokenizer, e))) for _, e in some]
        assert sum(n <= 225 for n in lengths) / len(lengths) >= 0.95


def test_a_description_stands_behind_each_name():
    for (_, plain), (_, example) in zip(asked("A-test"), asked("A-test", wording="described"), strict=True):
        if plain.asked == example.asked:  # nothing left out since its description gives a value away
            names = [f"{slots.spoken_name(n)} ({TYPES[n].description})" for n in example.asked]
            assert shown(example) == names and example.target == plain.target
            assert example.prompt.split("fill in")[0] == plain.prompt.split("fill in")[0]


def test_paraphrases_are_asked_and_answered_by_and_the_names_are_not():
    seen = set()
    for _, example in asked("A-test", wording="paraphrased"):
        for name, text in zip(example.asked, shown(example), strict=True):
            assert text in TYPES[name].paraphrases
            seen.add(text)
        assert set(json.loads(example.target)) <= set(shown(example))
    assert len(seen) > 1.5 * sum(not t.ood for t in TYPES.values())  # not always the first of them


def test_a_paraphrase_belongs_to_one_slot_and_is_no_slots_name():
    every = [text for t in TYPES.values() for text in t.paraphrases]
    assert len(slots.paraphrases(TYPES)) == len(every) == len(set(every))
    assert not set(every) & {slots.spoken_name(name) for name in TYPES}


def test_an_answer_under_the_slots_own_name_counts_too():
    names = {"place of residence": "home_city"}
    assert slots.parse('{"place of residence": "rome"}', names) == {"home_city": "rome"}
    assert slots.parse('{"home city": "rome"}', names) == {"home_city": "rome"}
    assert slots.parse('{"place of residence": "rome"}') == {"place_of_residence": "rome"}


def test_a_share_of_the_training_questions_describes_slots_and_the_rest_is_unchanged():
    turns = call_centre.utterances("train", 400)
    plain, some, every = (
        [questions.training_example(u, TYPES, {"slots": 1.0}, 0, 0, share) for u in turns]
        for share in (None, 0.5, 1.0)
    )
    described = [i for i, (a, b) in enumerate(zip(plain, some, strict=True)) if a != b]
    assert len(described) / len(turns) == pytest.approx(0.5, abs=0.08)
    assert all(some[i] == every[i] and "(" in every[i].prompt for i in described)
    alike = [a.target == b.target and a.asked == b.asked for a, b in zip(plain, every, strict=True)]
    assert sum(alike) >= 0.95 * len(turns)


def test_more_distractors_than_there_are_slots_is_all_of_them():
    types = {n: SlotType(n, "", True, False, "d") for n in ("city", "day")}
    example = slots.example(turn(0), Draw(types, random.Random(0)), distractors=5)
    assert set(example.asked) == {"city", "day"}
