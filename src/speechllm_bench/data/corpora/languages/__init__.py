"""Caller turns in Spanish and French, to evaluate models trained on English. Each language is one split.

2509.04473 leaves this test open; here it uses synthetic speech. Each language has a small grammar (es.yaml,
fr.yaml) with entities of five tags, espeak-ng voices of the language, and the usual telephone channel.
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
from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.storage.schema import Entity, Utterance

RECIPE_VERSION = "2"
"""Raise it with every change of this module that changes an utterance."""

TURNS = 150  # per language
_ALTERNATIVES = re.compile(r"\[([^]]*)\]")
_PLACE = re.compile(r"\{(\w+)\}")


def utterances() -> dict[str, list[Utterance]]:
    """Return the turns by language. No two turns with entities have the same transcript."""
    return {name: list(islice(_distinct(name), TURNS)) for name in LANGUAGES}


def recipe_hash() -> str:
    """Return the SHA-256 over everything that the transcripts depend on."""
    digest = hashlib.sha256(f"{RECIPE_VERSION} {TURNS}".encode())
    for name in LANGUAGES:
        digest.update(name.encode() + b"\0" + _file(name).read_bytes())
    return digest.hexdigest()


def _file(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.yaml")


@cache
def _language(name: str) -> dict:
    """Return its `accents` (espeak-ng voices), `turns`, and by placeholder `values`, with tag and choices."""
    return read_yaml(_file(name))


def _distinct(name: str) -> Iterator[Utterance]:
    said: set[str] = set()
    for turn in (_turn(name, index) for index in count()):
        if turn.transcript not in said or not turn.entities:
            said.add(turn.transcript)
            yield turn


def _turn(name: str, index: int) -> Utterance:
    rng = random.Random(f"languages/{name}/{index}")
    language = _language(name)
    speakers = tuple((accent, variant) for accent in language["accents"] for variant in VARIANTS)
    voice = Split(name, "A", name, speakers).voice(rng)
    text, entities = "", []
    for i, part in enumerate(_PLACE.split(_chosen(rng.choice(language["turns"]), rng))):
        if i % 2:  # odd parts are names of placeholders, even parts are literal text
            choices = language["values"][part]
            tag, part = choices["tag"], _value(choices["of"], text, rng)
            entities.append(Entity(tag, part, len(text), len(text) + len(part)))
        text += part
    return Utterance(
        id=f"languages/{name}/{index:03d}",
        split=name,
        call_id=f"languages/{name}/{index:03d}",
        transcript=text,
        entities=tuple(entities),
        sentiment="neutral",
        speaker=voice.speaker,
        voice=voice,
        gold=LANGUAGES_GOLD,
    )


def _value(values: list[str], said: str, rng: random.Random) -> str:
    while (value := _chosen(rng.choice(values), rng)) in said:
        pass
    return value


def _chosen(text: str, rng: random.Random) -> str:
    """Return the text with one of each group of alternatives, and single spaces."""
    return " ".join(_ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), text).split())
