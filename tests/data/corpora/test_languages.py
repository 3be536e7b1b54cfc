"""Turns in Spanish and French: verbatim entities, spoken text alone, by voices of the language."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from clean_speech import synthesise

from speechllm_bench.data.corpora import call_centre, languages
from speechllm_bench.storage.schema import Utterance, Voice
from speechllm_bench.tasks import TASKS, ner, transcription
from speechllm_bench.tasks.task import Draw

ALL = languages.utterances()


@pytest.mark.parametrize("name", ["es", "fr"])
def test_turns_are_spoken_text_with_verbatim_entities(name):
    turns = ALL[name]
    assert len(turns) == len({u.id for u in turns}) == languages.TURNS
    tags = Counter(entity.tag for u in turns for entity in u.entities)
    assert len(tags) == 5 and min(tags.values()) > 10
    assert 20 < sum(not u.entities for u in turns) < 75
    telling = [u.transcript for u in turns if u.entities]
    assert len(telling) == len(set(telling))
    for u in turns:
        assert re.fullmatch(r"[^\W\d_]+(['\s][^\W\d_]+)*", u.transcript) and u.transcript.islower()
        assert all(u.transcript[e.start : e.end] == e.text for e in u.entities)
        assert Utterance.from_json(u.to_json()) == u
        assert [name for name, task in TASKS.items() if task.can_ask(u)] == ["transcription", "ner"]
        assert Counter(ner.parse(ner.example(u, Draw({}, None)).target)) == Counter(
            (e.tag, e.text) for e in u.entities
        )
        assert transcription.example(u, Draw({}, None)).target == u.transcript


@pytest.mark.parametrize("name", ["es", "fr"])
def test_speakers_are_of_the_language_and_there_are_a_dozen(name):
    accents = {u.voice.accent for u in ALL[name]}
    assert all(accent.startswith(name) for accent in accents)
    assert len({u.speaker for u in ALL[name]}) >= 12
    heard = {u.speaker for split in ("train", "A-test") for u in call_centre.utterances(split, 300)}
    assert not heard & {u.speaker for u in ALL[name]}


def test_each_accent_has_a_sound_of_its_own():
    one = next(u for u in ALL["fr"] if len(u.entities) > 1)
    accents = [*sorted({u.voice.accent for turns in ALL.values() for u in turns}), "en"]
    spoken = [synthesise(one.transcript, Voice(accent, "m1", 140, 50, 20.0, 0)) for accent in accents]
    assert len({samples.tobytes() for samples in spoken}) == len(accents) == 4


def test_the_recipe_says_what_the_turns_rest_on(monkeypatch):
    before = languages.recipe_hash()
    assert languages.utterances() == ALL and languages.recipe_hash() == before
    monkeypatch.setattr(languages, "TURNS", 3)
    assert languages.recipe_hash() != before
    assert languages.utterances() == {name: turns[:3] for name, turns in ALL.items()}
