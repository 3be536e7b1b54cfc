"""The text that the embedded LLM learns from: nothing of the studies' questions, answers always in sight."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.tasks import AUDIO, slots
from speechllm_bench.zoo.texts import small_worlds, written
from speechllm_bench.zoo.texts.small_worlds import TYPES as TYPES_OF_NAMES
from speechllm_bench.zoo.texts.small_worlds import typed_name, unseen_words

TYPES = call_centre.slot_types()
SLOT_NAMES = {slots.spoken_name(name) for name in TYPES}


@pytest.fixture(scope="module")
def utterances():
    return call_centre.utterances("zoo", 100)


@pytest.fixture(scope="module")
def extractions(utterances):
    return [written.extraction(i, 7, utterances) for i in range(1500)]


WORLDS = {**small_worlds.worlds(), **small_worlds.relations()}


def test_no_field_shares_its_name_with_a_slot():
    fields = {field for world in WORLDS.values() for field in world}
    assert len(fields) > 250
    assert not fields & SLOT_NAMES


def test_related_fields_are_of_one_kind_and_named_without_the_words_of_unseen_slots():
    for name, world in small_worlds.relations().items():
        kinds = [kind for kind, *_ in world.values()]
        assert len(set(kinds)) < len(kinds), f"{name} has nothing to tell apart"
        assert not unseen_words() & {word for field in world for word in field.split()}


def test_a_related_record_says_some_fields_of_a_world_and_names_the_others():
    rng = random.Random(0)
    for _ in range(500):
        said, fields, unsaid = small_worlds.related_record(rng)
        assert fields and not set(fields) & set(unsaid)
        assert {*fields, *unsaid} in [set(world) for world in small_worlds.relations().values()]
        assert all(f" {value} " in f" {said} " for value in fields.values())


def test_no_field_made_of_nouns_is_a_slot():
    """Fields made up at random are one or two of NOUNS."""
    nouns = set(small_worlds.NOUNS)
    assert not [name for name in SLOT_NAMES if len(name.split()) <= 2 and set(name.split()) <= nouns]


def test_no_slot_of_the_corpus_is_ever_asked_for(extractions):
    asked = {name for example, _ in extractions for name in json.loads(example.target)}
    assert len(asked) > 200 and not asked & SLOT_NAMES


def test_no_extraction_example_asks_with_a_word_that_only_unseen_slots_are_named_with(utterances):
    """Protocol, rule 2: such words occur in plain text alone."""
    seen, unseen = (
        {word for t in TYPES.values() if t.ood == ood for word in t.name.split("_")} for ood in (False, True)
    )
    assert len(unseen - seen) > 10
    shares = ({"renamed": 0.8}, {"typed": 0.8, "rare": 0.5, "closed": 0.5})
    examples = [written.extraction(i, 7, utterances, **some)[0] for some in shares for i in range(1500)]
    words = {word for e in examples for name in asked(e) for word in name.split()}
    assert len(words) > 1000 and not words & (unseen - seen)


def test_every_wording_has_a_place_for_the_value_and_a_kind_that_exists():
    for world in WORLDS.values():
        for kind, *wordings in world.values():
            assert kind in small_worlds.KINDS or kind in small_worlds.WORDS
            assert all(wording.count("{v}") == 1 for wording in wordings)
    assert all(link.count("{v}") == link.count("{f}") == 1 for link in small_worlds.RENAMED_LINKS)
    assert all(link.count("{v}") == 1 and "{f}" not in link for link in small_worlds.BARE_LINKS)


def test_every_answer_stands_verbatim_in_the_text(extractions):
    for example, said in extractions:
        answer = json.loads(example.target)
        assert answer
        for value in answer.values():
            assert f" {value} " in f" {said} "
        assert "{" not in said and "  " not in said


def asked(example) -> list[str]:
    return example.prompt.split("fill in as json: ")[1].split(", ")


def test_only_fields_that_are_present_are_asked_for(extractions):
    for example, _ in extractions:
        assert asked(example) == list(json.loads(example.target))


def test_absent_fields_are_asked_for_only_where_the_speaker_says_that_nothing_else_is_there(utterances):
    pairs = [written.extraction(i, 7, utterances, typed=0.6, closed=0.3) for i in range(1000)]
    partly = [(e, said) for e, said in pairs if asked(e) != list(json.loads(e.target))]
    assert 0.2 < len(partly) / len(pairs) < 0.4
    for example, said in partly:
        assert said.startswith(written.ALL_SAID) or said.endswith(written.ALL_SAID)
        answer = list(json.loads(example.target))
        assert answer == [name for name in asked(example) if name in answer]
        absent = {name.split()[-1] for name in asked(example) if name not in answer}
        assert not absent & {name.split()[-1] for name in answer}
    assert any(e.target == "{}" for e, _ in partly)


def test_a_typed_name_ends_in_what_its_value_is_and_names_no_slot():
    rng = random.Random(0)
    drawn = [typed_name(rng, rare=0.3) for _ in range(2000)]
    assert {name.split()[-1] for name, _ in drawn} == set(TYPES_OF_NAMES)
    assert all(kind in TYPES_OF_NAMES[name.split()[-1]] for name, kind in drawn)
    assert not {name for name, _ in drawn} & SLOT_NAMES
    assert {kind for kinds in TYPES_OF_NAMES.values() for kind in kinds} <= set(small_worlds.KINDS)
    assert not set(TYPES_OF_NAMES) & unseen_words()


def test_the_question_is_put_as_the_studies_put_it(extractions):
    for example, _ in extractions:
        before, after = example.prompt.split(AUDIO)
        assert before.endswith("caller:") and after.startswith("\nfill in as json: ")
    share = sum("\n" in e.prompt.split(AUDIO)[0] for e, _ in extractions) / len(extractions)
    assert 0.2 < share < 0.4  # with a dialogue before it


def test_generation_is_deterministic_and_the_seed_matters(utterances):
    first, again, other = (
        [written.post_training(i, seed, utterances) for i in range(50)] for seed in (7, 7, 8)
    )
    assert first == again != other
    first, again, other = (
        list(itertools.islice(written.pre_training(seed, utterances), 50)) for seed in (7, 7, 8)
    )
    assert first == again != other


def test_post_training_extracts_and_repeats(utterances):
    pairs = [written.post_training(i, 7, utterances) for i in range(1000)]
    repeated = [(e, said) for e, said in pairs if e.task == "transcription"]
    assert 0.25 < len(repeated) / len(pairs) < 0.35
    assert all(example.target == said for example, said in repeated)


def test_pre_training_describes_unseen_slots_in_plain_text(utterances):
    lines = list(itertools.islice(written.pre_training(7, utterances), 8000))
    described = [name for name in TYPES if any(f"{slots.spoken_name(name)} " in f"{line} " for line in lines)]
    assert len(described) == len(TYPES)
    for line in lines:
        if '{"' in line:  # the extraction examples among them
            assert not set(json.loads(line.rsplit("\n", 1)[1])) & SLOT_NAMES


def test_lines_of_marks_have_every_character_and_no_form_of_a_trace():
    rng = random.Random(0)
    lines = [written.marks(rng) for _ in range(3000)]
    assert set(written.CHARACTERS) <= set("".join(lines))
    assert all(any(mark in line for line in lines) for mark in written.CHAT)
    assert "{}" in lines and "[]" in lines
    assert not any(tag in line for line in lines for tag in ("think>", "response>", "fill in", "work it out"))


def test_marks_are_a_share_of_the_text_and_none_leaves_it_as_it_was(utterances):
    def some(marked):
        return list(itertools.islice(written.pre_training(7, utterances, marked), 2000))

    assert some(0.0) == list(itertools.islice(written.pre_training(7, utterances), 2000))
    assert not any(mark in line for line in some(0.0) for mark in "<[0")
    n_marked = sum(any(mark in line for mark in "<[0123456789}]") for line in some(0.1))
    assert n_marked > 150
