"""Caller turns in Spanish and French, to evaluate what was trained on English: one split a language.

A check that 2509.04473 leaves open, on synthetic speech: turns of a small grammar a language
(es.yaml, fr.yaml) with entities of five tags, by espeak-ng voices of the language, over the same telephone.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from functools import cache
from itertools import count, islice
from pathlib import Path

from speechllm_bench.data.corpora.call_centre.splits import VARIANTS, Split
from speechllm_bench.settings.evaluation_config import LANGUAGES, LANGUAGES_GOLD
from speechllm_bench.settings.strict import Strict, load_yaml
from speechllm_bench.storage.schema import Entity, EntityTag, Utterance

RECIPE_VERSION = "2"
"""To be raised with every change of this module that changes an utterance."""

TURNS = 150  # a language
_ALTERNATIVES = re.compile(r"\[([^]]*)\]")
_PLACE = re.compile(r"\{(\w+)\}")


class Values(Strict):
    """What can stand in one place of a turn."""

    tag: EntityTag
    of: list[str]


class Language(Strict):
    """One language's file."""

    accents: list[str]  # espeak-ng voices
    values: dict[str, Values]
    turns: list[str]


def utterances() -> dict[str, list[Utterance]]:
    """The turns of every language, by its name; of those with entities no two say the same."""
    return {name: list(islice(_distinct(name), TURNS)) for name in LANGUAGES}


def recipe_hash() -> str:
    """SHA-256 over everything the transcripts depend on."""
    digest = hashlib.sha256(f"{RECIPE_VERSION} {TURNS}".encode())
    for name in LANGUAGES:
        digest.update(name.encode() + b"\0" + _file(name).read_bytes())
    return digest.hexdigest()


def _file(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.yaml")


@cache
def _language(name: str) -> Language:
    return load_yaml(Language, _file(name))


def _distinct(name: str) -> Iterator[Utterance]:
    said: set[str] = set()
    for turn in (_turn(name, index) for index in count()):
        if turn.transcript not in said or not turn.entities:
            said.add(turn.transcript)
            yield turn


def _turn(name: str, index: int) -> Utterance:
    rng = random.Random(f"languages/{name}/{index}")
    language = _language(name)
    speakers = tuple((accent, variant) for accent in language.accents for variant in VARIANTS)
    voice = Split(name, "A", name, speakers).voice(rng)
    text, entities = "", []
    for i, part in enumerate(_PLACE.split(_chosen(rng.choice(language.turns), rng))):
        if i % 2:  # the name of values; what stands between is said as it is
            tag, part = language.values[part].tag, _value(language.values[part].of, text, rng)
            entities.append(Entity(tag, part, len(text), len(text) + len(part)))
        text += part
    return Utterance(
        id=f"languages/{name}/{index:03d}",
        split=name,
        call_id=f"languages/{name}/{index:03d}",
        turn_index=0,
        domain="",
        company="",
        intent="",
        transcript=text,
        slots=(),
        entities=tuple(entities),
        sentiment="neutral",
        context=(),
        speaker=voice.speaker,
        voice=voice,
        gold=LANGUAGES_GOLD,
    )


def _value(values: list[str], said: str, rng: random.Random) -> str:
    """A value that was not said in this turn."""
    while (value := _chosen(rng.choice(values), rng)) in said:
        pass
    return value


def _chosen(text: str, rng: random.Random) -> str:
    """The text with one of each alternatives, and no more spaces than there have to be."""
    return " ".join(_ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), text).split())
