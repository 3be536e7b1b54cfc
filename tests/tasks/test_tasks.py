"""Tasks over the embedded corpus: what is asked, what is to be said, and that no question answers itself."""

from __future__ import annotations

import ast
import json
import random
import re
from dataclasses import replace
from functools import cache
from typing import get_args

import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.corpora.call_centre.splits import FORMANT, NEURAL
from speechllm_bench.settings.config import PromptStyle
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import ALL_GOLD, Example, SlotType, SlotValue, Turn, Utterance
from speechllm_bench.tasks import AUDIO, METRICS, TASKS, slots, transcription
from speechllm_bench.tasks.prompt import contains, draw_context
from speechllm_bench.tasks.task import Draw

N = 1500
ASKED_SPLITS = list(NEURAL.splits)
TYPES = call_centre.slot_types()


@cache
def corpus(split: str) -> list[Utterance]:
    return call_centre.utterances(split, N, NEURAL if split == "C-test" else FORMANT)


@cache
def asked(split: str, ood: bool = False, style: PromptStyle | None = None) -> list[tuple[Utterance, Example]]:
    return [(u, questions.evaluation_example(u, TYPES, "slots", ood, style)) for u in corpus(split)]


def gold(utterance: Utterance, ood: bool = False) -> dict[str, str]:
    """Slots of one kind, but one whose name says a wanted value ("home city", policy type "home")."""
    all_of_it = {s.slot: s.value for s in utterance.slots if TYPES[s.slot].ood == ood}
    named = {k: words(slots.spoken_name(k)) for k in all_of_it}
    return {k: v for k, v in all_of_it.items() if not any(words(x) in named[k] for x in all_of_it.values())}


def words(text: str) -> str:
    return " " + " ".join(re.findall(r"\w+", text.lower())) + " "


CASES = [(split, False) for split in ASKED_SPLITS] + [("B-test", True)]
ASKS = {
    None: ("", "fill in as json: "),
    "english": (slots.INSTRUCTION["english"].split("\n")[0] + "\n", "keys: "),
}
"""What stands before the dialogue and, before the slots, behind it."""
STYLES: tuple[PromptStyle | None, ...] = (None, *get_args(PromptStyle))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("split", "ood"), CASES)
class TestSlotsOverTheCorpus:
    def test_the_parsed_target_is_the_gold_answer(self, split, ood, style):
        for utterance, example in asked(split, ood, style):
            assert slots.parse(example.target) == gold(utterance, ood)
        assert any(gold(u, ood) for u in corpus(split)) and not all(gold(u, ood) for u in corpus(split))

    def test_wanted_slots_among_one_to_five_distractors(self, split, ood, style):
        numbers = set()
        for utterance, example in asked(split, ood, style):
            wanted = gold(utterance, ood)
            distractors = set(example.asked) - set(wanted)
            assert len(example.asked) == len(set(example.asked)) == len(wanted) + len(distractors)
            assert not distractors & {s.slot for s in utterance.slots}
            numbers.add(len(distractors))
        assert numbers == {1, 2, 3, 4, 5}

    def test_only_slots_of_the_kind_asked_for(self, split, ood, style):
        assert all(TYPES[name].ood == ood for _, example in asked(split, ood) for name in example.asked)

    def test_no_wanted_value_in_context_or_instruction(self, split, ood, style):
        """Protocol, rule 4, by a plainer matcher than the task's own."""
        leaks = [
            (example.prompt, value)
            for utterance, example in asked(split, ood, style)
            for value in gold(utterance, ood).values()
            if words(value) in words(f"{example.system} {example.prompt}".replace(AUDIO, " "))
        ]
        assert leaks == []

    def test_the_prompt_has_one_place_for_speech_and_at_most_three_turns_before_it(self, split, ood, style):
        turns = set()
        for _, example in asked(split, ood, style):
            before, after = example.prompt.split(AUDIO)
            first, asks = ASKS[style]
            assert before.startswith(first) and before.endswith("caller:") and after.startswith(f"\n{asks}")
            turns.add(before.removeprefix(first).count("\n"))
        assert turns == {0, 1, 2, 3}

    def test_the_prompt_names_the_slots_in_the_order_of_the_answer(self, split, ood, style):
        for _, example in asked(split, ood, style):
            listed = example.prompt.split(f"\n{ASKS[style][1]}")[1].split(", ")
            assert listed == [slots.spoken_name(name) for name in example.asked]
            filled = list(json.loads(example.target))
            assert filled == [name for name in listed if name in filled]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("split", ASKED_SPLITS)
def test_training_questions_never_name_an_unseen_slot(split, style):
    wanted = filled = several = 0
    for utterance in corpus(split)[:500]:
        example = questions.training_example(utterance, TYPES, {"slots": 1.0}, 3, 2, style=style)
        answer = slots.parse(example.target)
        assert not any(TYPES[name].ood for name in example.asked)
        assert 1 <= len(set(example.asked) - set(answer)) <= 5
        assert set(example.asked) & set(gold(utterance)) == set(answer)  # what is not wanted is not asked
        text = words(f"{example.system} {example.prompt}".replace(AUDIO, " "))
        assert not any(words(value) in text for value in answer.values())
        assert answer.items() <= gold(utterance).items()
        wanted, filled = wanted + len(answer), filled + len(gold(utterance))
        several += len(gold(utterance)) > 1
        assert len(answer) >= len(gold(utterance)) - (len(gold(utterance)) > 1)
    if several > 50:  # in B a turn rarely fills two seen slots
        assert abs((filled - wanted) / several - slots.LEFT_OUT) < 0.12


def test_nearly_every_filled_slot_is_asked():
    for split, ood in CASES:
        filled = sum(TYPES[s.slot].ood == ood for u in corpus(split) for s in u.slots)
        assert sum(len(slots.parse(e.target)) for _, e in asked(split, ood)) >= 0.999 * filled


def test_the_place_of_a_wanted_slot_tells_nothing():
    """Distractors and wanted slots are shuffled: neither comes first more often."""
    places = [
        example.asked.index(name) / (len(example.asked) - 1)
        for utterance, example in asked("train")
        for name in gold(utterance)
    ]
    assert abs(sum(places) / len(places) - 0.5) < 0.04


def test_evaluation_asks_the_same_every_time():
    for utterance in corpus("A-test")[:50]:
        random.seed(utterance.id)  # global state does not matter
        assert questions.evaluation_example(utterance, TYPES, "slots") == questions.evaluation_example(
            utterance, dict(TYPES), "slots"
        )


def test_ids_differ_between_questions_on_one_turn():
    utterance = corpus("B-test")[0]
    ids = {
        questions.evaluation_example(utterance, TYPES, task, ood).id
        for task, ood in (("slots", False), ("slots", True), ("transcription", False))
    }
    assert len(ids) == 3


_SLOTS = (
    "Answer in JSON with those of the keys that the caller gives, each value copied word for word.\n"
    f"caller:{AUDIO}\nkeys: day, city"
)
_STEPS = "in <think></think>, then the JSON in <response></response>."
_ALL = f"First write the caller's words, all possible values and a reason for each key {_STEPS}"
ENGLISH = {
    "slots": _SLOTS,
    "slots_transcript": f"{_SLOTS}\nFirst write the caller's words {_STEPS}",
    "slots_mentions": f"{_SLOTS}\nFirst write the caller's words and all possible values {_STEPS}",
    "slots_reasoning": f"{_SLOTS}\n{_ALL}",
    "slots_think": f"{_SLOTS}\n{_ALL}\n/think",
    "slots_no_think": f"{_SLOTS}\n/no_think",
    "transcription": f"Write down the caller's words.\ncaller:{AUDIO}",
    "sit": f"Answer the question at the end in a few words.\ncaller:{AUDIO}\nwhy does the caller ring?",
    "sqit": f"Answer the question spoken after the caller, in a few words.\ncaller:{AUDIO}",
    "ner": "Answer in JSON with what the caller names of these kinds, copied word for word: when, quantity, "
    f"place, group, organisation, law, person.\ncaller:{AUDIO}",
    "sentiment": f"Answer with the caller's sentiment: negative, neutral or positive.\ncaller:{AUDIO}",
}


def utterance(value: str, slot: str = "seat_row") -> Utterance:
    span = SlotValue(slot, value, value, 0, len(value))
    return Utterance("u", "train", "c", 1, "d", "", "", value, (span,), (), "", (), "s")


def types(*names: str, domain: str = "d") -> dict[str, SlotType]:
    return {name: SlotType(name, "", True, False, domain) for name in names}


@pytest.mark.parametrize(
    "value",
    ['say "hi"', "{curly}", "}", "[1]", "back\\slash", "zürich", "naïve 東京", "o'brien", "a, b: c", " x "],
)
def test_awkward_values_survive_target_and_parser(value):
    example = slots.example(utterance(value), Draw(types("seat_row", "city"), random.Random(0)))
    assert slots.parse(example.target) == {"seat_row": value}


def test_the_target_writes_letters_as_they_are():
    assert slots.target({"home_city": "zürich"}) == '{"home city": "zürich"}'


def test_nothing_wanted_is_an_empty_object():
    silent = Utterance("u", "train", "c", 1, "d", "", "", "um hello", (), (), "", (), "s")
    example = slots.example(silent, Draw(types("city", "date"), random.Random(0)))
    assert example.target == "{}" and slots.parse("{}") == {} and 1 <= len(example.asked) <= 2


@pytest.mark.parametrize(
    "raw", ["", "paris", '{"city": "paris"', '{"city": "paris"} ok', "[]", '["paris"]', '"paris"', "null",
            "7", "{city: paris}", "[" * 100_000, "9" * 5000],
)  # fmt: skip
def test_what_is_not_one_object_is_unparsable(raw):
    assert slots.parse(raw) is None


def test_null_and_empty_values_parse():
    assert slots.parse(' {"first name": null, "city": "", "date": "may"} ') == {
        "first_name": None, "city": "", "date": "may"
    }  # fmt: skip


def test_a_distractor_whose_name_holds_a_wanted_value_is_not_asked():
    for seed in range(30):
        example = slots.example(
            utterance("seat", "city"), Draw(types("city", "seat_row", "date"), random.Random(seed))
        )
        assert set(example.asked) <= {"city", "date"}


def test_a_wanted_slot_whose_name_holds_another_wanted_value_is_not_asked():
    spans = (SlotValue("policy_type", "home", "home", 2, 6), SlotValue("home_city", "rome", "rome", 17, 21))
    both = Utterance("u", "train", "c", 1, "d", "", "", "a home policy in rome", spans, (), "", (), "s")
    example = slots.example(both, Draw(types("policy_type", "home_city", "date"), random.Random(0)))
    assert set(example.asked) == {"policy_type", "date"}
    assert slots.parse(example.target) == {"policy_type": "home"}


def test_context_stops_at_a_turn_that_gives_a_value_away():
    turns = [Turn("agent", t) for t in ("one", "to paris then", "two", "three")]
    drawn = [tuple(t.text for t in draw_context(turns, ["paris"], random.Random(i))) for i in range(40)]
    assert set(drawn) == {(), ("three",), ("two", "three")}
    assert draw_context([], ["paris"], random.Random(0)) == []


def test_contains_means_whole_words():
    assert contains("it is may first", "may") and contains("may", "may")
    assert not contains("maybe", "may") and not contains("dismay", "may")


def test_a_value_that_the_instruction_says_is_not_asked_for():
    types_ = types("seat_row", "city")
    for style, value in ((None, "json"), ("english", "phone"), ("english", "json")):
        example = slots.example(utterance(value), Draw(types_, random.Random(0), style=style))
        assert example.asked == ("city",) and example.target == "{}"
    example = slots.example(utterance("phone"), Draw(types_, random.Random(0)))
    assert example.target == '{"seat row": "phone"}'


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ASKED_SPLITS)
def test_a_style_changes_the_words_of_a_prompt_and_nothing_else(split, task):
    if (split, task) == ("C-test", "sqit"):
        pytest.skip("no instructions are spoken by neural voices")
    for one in corpus(split)[:200]:
        terse, english = (
            questions.evaluation_example(one, TYPES, task, style=style) for style in (None, "english")
        )
        assert terse == replace(english, prompt=terse.prompt, system="")
        assert english.system == "You extract information from a phone call."
        dialogues = [example.prompt.split(AUDIO)[0] for example in (terse, english)]
        assert dialogues[1].endswith(f"\n{dialogues[0]}") and terse.prompt != english.prompt


def test_the_prompts_in_english_are_what_they_were():
    """Written down: another wording under the same name would be other numbers under the same digest."""
    turn = utterance("rome", "city")
    for task in TASKS:
        example = TASKS[task].example(turn, Draw(types("city", "day"), random.Random(0), style="english"))
        assert example.prompt == ENGLISH[task]


@pytest.mark.parametrize("split", ASKED_SPLITS)
def test_transcription_asks_for_the_words_and_nothing_else(split):
    for one in corpus(split)[:300]:
        example = questions.evaluation_example(one, TYPES, "transcription")
        assert transcription.parse(example.target) == one.transcript == example.target
        assert example.prompt == f"caller:{AUDIO}\nwrite it down"


def test_every_task_has_its_parts():
    for name, task in TASKS.items():
        assert task.name == name and callable(task.example) and callable(task.parse) and task.version >= 1
        assert task.gold and set(task.gold) <= set(ALL_GOLD)
        assert task.main.column == "with interval" and METRICS[task.main.name] == task.main


OTHER_MEANINGS = {
    "storage/schema.py": {"slots", "sentiment"},  # fields of utterances, here and in corpora
    "data/corpora/call_centre/calls.py": {"slots", "sentiment"},
    "data/corpora/call_centre/grammar.py": {"slots", "sentiment"},  # keys of its YAML
    "data/corpora/fluent_speech/__init__.py": {"slots", "transcription"},  # a column of its files, too
    "data/corpora/harper_valley/__init__.py": {"slots"},
    "data/corpora/librispeech_slue.py": {"sentiment"},
    "data/corpora/own_recordings.py": {"slots"},
    "data/corpora/recorded.py": {"slots"},
    "data/corpora/slurp/__init__.py": {"slots"},
    "data/corpora/store.py": {"slots", "sentiment"},
    "data/testable.py": {"sentiment"},
    "evaluation/answerers.py": {"sentiment"},
    "training/regulariser.py": {"sentiment"},
    "settings/profiles.py": {"slots", "transcription"},  # budgets
    "reports/progress.py": {"slots", "transcription"},  # stages
    "zoo/recipes.py": {"transcription"},  # kinds of items that an audio LLM learns from
    "zoo/audio_llm_mini.py": {"transcription"},
}


def test_no_name_of_a_task_stands_outside_its_module_and_the_list():
    found: dict[str, set[str]] = {}
    package = paths.PROJECT / "src" / "speechllm_bench"
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        words = {n.value for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Constant)}
        if not name.startswith("tasks/") and (named := {word for word in TASKS if word in words}):
            found[name] = named
    assert found == OTHER_MEANINGS


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("split", "ood"), CASES)
def test_prompts_stay_short(split, ood, style):
    """Protocol, rule 5, in llm-mini's tokens: the chat prompt without the speech.

    An LLM with a larger vocabulary has fewer: the prompts in English are cut finest by the embedded one.
    """
    if not (paths.PROJECT / "zoo" / "llm-mini" / "tokenizer.json").is_file():
        pytest.skip("zoo/llm-mini is not trained yet, and the rule counts its tokens")
    from speechllm_bench.models.inputs import prompt_halves
    from speechllm_bench.models.llm import load_tokenizer

    tokenizer = load_tokenizer("zoo/llm-mini")
    lengths = [sum(map(len, prompt_halves(tokenizer, e))) for _, e in asked(split, ood, style)[:500]]
    assert sum(lengths) / len(lengths) <= 130
    assert sum(n <= 225 for n in lengths) / len(lengths) >= 0.98
