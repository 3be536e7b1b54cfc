"""The text that the embedded LLM learns from: nothing of the studies' questions, answers always in sight."""

from __future__ import annotations

import itertools
import json

import pytest

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.tasks import AUDIO, slots
from speechllm_bench.zoo import text

TYPES = call_centre.slot_types()
SLOT_NAMES = {slots.spoken(name) for name in TYPES}


@pytest.fixture(scope="module")
def utterances():
    return call_centre.utterances("zoo", 100)


@pytest.fixture(scope="module")
def extractions(utterances):
    return [text.extraction(i, 7, utterances) for i in range(1500)]


def test_no_field_shares_its_name_with_a_slot():
    fields = {field for world in text.worlds().values() for field in world}
    assert len(fields) > 80
    assert not fields & SLOT_NAMES


def test_no_field_made_of_nouns_is_a_slot():
    """Fields made up at random are one or two of NOUNS."""
    nouns = set(text.NOUNS)
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
    examples = [text.extraction(i, 7, utterances, renamed=0.8)[0] for i in range(1500)]
    asked = {word for e in examples for name in json.loads(e.target) for word in name.split()}
    assert not asked & (unseen - seen)


def test_every_wording_has_a_place_for_the_value_and_a_kind_that_exists():
    for world in text.worlds().values():
        for kind, *wordings in world.values():
            assert kind in text.KINDS or kind in text.WORDS
            assert all(wording.count("{v}") == 1 for wording in wordings)
    assert all(link.count("{v}") == link.count("{f}") == 1 for link in text.LINKS)


def test_every_answer_stands_verbatim_in_the_text(extractions):
    for example, said in extractions:
        answer = json.loads(example.target)
        assert answer
        for value in answer.values():
            assert f" {value} " in f" {said} "
        assert "{" not in said and "  " not in said


def test_only_fields_that_are_present_are_asked_for(extractions):
    for example, _ in extractions:
        asked = example.prompt.split("fill in as json: ")[1].split(", ")
        assert asked == list(json.loads(example.target))


def test_the_question_is_put_as_the_studies_put_it(extractions):
    for example, _ in extractions:
        before, after = example.prompt.split(AUDIO)
        assert before.endswith("caller:") and after.startswith("\nfill in as json: ")
    share = sum("\n" in e.prompt.split(AUDIO)[0] for e, _ in extractions) / len(extractions)
    assert 0.2 < share < 0.4  # with a dialogue before it


def test_generation_is_deterministic_and_the_seed_matters(utterances):
    first, again, other = ([text.post_training(i, seed, utterances) for i in range(50)] for seed in (7, 7, 8))
    assert first == again != other
    first, again, other = (
        list(itertools.islice(text.pre_training(seed, utterances), 50)) for seed in (7, 7, 8)
    )
    assert first == again != other


def test_post_training_extracts_and_repeats(utterances):
    pairs = [text.post_training(i, 7, utterances) for i in range(1000)]
    repeated = [(e, said) for e, said in pairs if e.task == "transcription"]
    assert 0.25 < len(repeated) / len(pairs) < 0.35
    assert all(example.target == said for example, said in repeated)


def test_pre_training_describes_unseen_slots_in_plain_text(utterances):
    lines = list(itertools.islice(text.pre_training(7, utterances), 8000))
    described = [name for name in TYPES if any(f"{slots.spoken(name)} " in f"{line} " for line in lines)]
    assert len(described) == len(TYPES)
    for line in lines:
        if '{"' in line:  # the extraction examples among them
            assert not set(json.loads(line.rsplit("\n", 1)[1])) & SLOT_NAMES
