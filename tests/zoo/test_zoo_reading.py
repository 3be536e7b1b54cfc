"""What whisper-mini's voices read aloud: enough variety, and nothing that belongs to another split."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.corpora.call_centre.names import name_lists
from speechllm_bench.data.corpora.call_centre.splits import FORMANT, split_named
from speechllm_bench.zoo.texts import readings, small_worlds


@pytest.fixture(scope="module", params=[readings.SHORT, readings.LONG], ids=["short", "long"])
def manner(request):
    return request.param


@pytest.fixture(scope="module")
def read(manner):
    return readings.read_aloud(1200, 7, manner)


def test_the_seed_decides(read, manner):
    assert readings.read_aloud(1200, 7, manner) == read
    assert [u.transcript for u in readings.read_aloud(1200, 8, manner)] != [u.transcript for u in read]


def test_long_readings_are_longer_and_other_turns():
    short, long = (readings.read_aloud(600, 7, manner) for manner in (readings.SHORT, readings.LONG))
    n_words = [sum(len(u.transcript.split()) for u in some) / len(some) for some in (short, long)]
    assert n_words[1] > 1.5 * n_words[0]
    assert not {u.id for u in short} & {u.id for u in long}


def test_half_are_caller_turns_and_no_sentence_is_heard_more_than_twice(read, manner):
    callers = [u for u in read if u.id.startswith("call_centre/zoo/")]
    assert 0.4 < len(callers) / len(read) < 0.6
    assert max(Counter(u.transcript for u in read).values()) <= readings.REPEATS
    assert len({u.id for u in read}) == len(read)
    assert max(len(u.transcript.split()) for u in read) <= manner.longest


def test_only_speakers_of_the_zoo_split_read(read):
    speakers = set(split_named("zoo").speakers)
    assert {(u.voice.accent, u.voice.variant) for u in read} <= speakers
    assert len({u.speaker for u in read}) == len(speakers)


def test_no_name_of_another_split_is_read(read):
    """Some names are words as well, such as bill, park and white; whoever is called so is another matter."""
    names = {name for list_ in name_lists().values() for name in list_}
    others = {name for name in names if FORMANT.share_of(name) != "zoo"}
    known = {
        word
        for line in (*small_worlds.LINKS, *small_worlds.WORDS.values(), *small_worlds.NOUNS)
        for word in line.split()
    }
    wordings = {
        w
        for world in small_worlds.worlds().values()
        for f, ws in world.items()
        for line in (f, *ws)
        for w in line.split()
    }
    calls = call_centre.utterances("zoo", 3000)
    said = {w for u in calls for t in (u.transcript, *(t.text for t in u.context)) for w in t.split()}
    extra = [u.transcript for u in read if u.id.startswith("reading/")]
    assert not {w for line in extra for w in line.split()} & others - known - wordings - said


def test_common_words_are_words_and_no_names():
    common = small_worlds.common_words()
    assert len(common) == small_worlds.N_COMMON and {"the", "partnership"} <= set(common)
    assert all(word.isalpha() and word.islower() and 3 <= len(word) <= 12 for word in common)
    assert not set(common) & {name for list_ in name_lists().values() for name in list_}
    drawn = [small_worlds.words_in_no_order(random.Random(seed)).split() for seed in range(200)]
    assert {len(d) for d in drawn} == {2, 3, 4, 5, 6}
