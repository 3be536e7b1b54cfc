"""Records: a few spoken sentences and the fields they give, of which the embedded LLM learns to extract.

Two files of small worlds say what there is to tell and how people tell it; none of their fields is a slot of
the corpus. Names drawn at random, and names that say what the value is, come from `vocabulary.py`.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from speechllm_bench.data.corpora.call_centre.values import KINDS, supply
from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.zoo.texts.vocabulary import NOUNS, WORDS, drawn_name, typed_name

LINKS = ("the {f} is {v}", "{v} is the {f}", "the {f} was {v}", "{f} {v}", "as for the {f} it is {v}")
RENAMED_LINKS = (
    *LINKS,
    *("my {f} is {v}", "{v} for the {f}", "the {f} would be {v} please", "put {v} as {f}", "{v} {f}"),
    *("it's {v} the {f}", "i need a {f} {v}", "do you have {v} as {f}", "the {f} should be {v}"),
    "about the {f} {v}",
)
BARE_LINKS = (  # the value alone has to tell which field it is
    *("{v}", "it's {v}", "{v} please", "{v} i think", "it was {v}", "that's {v}", "we said {v}"),
    *("i heard {v}", "with {v}", "they told me {v}", "about {v}", "on {v}", "in {v}", "for {v}", "at {v}"),
    *("i want {v}", "we had {v}", "i'd like {v}", "there was {v}", "from {v}", "you see {v} there"),
)
FILLERS = ("and", "so", "well", "um", "then", "i think", "you know", "yes", "now", "but")
AFTERWARDS = ("that is all", "i think", "as far as i know", "if i remember", "and that was it", "anyway")
BARE_SHARE = 0.6  # of the typed names that could be told by their value alone
PLAIN_SHARE = 0.25  # of the fields: named after things at random, stated plainly


@cache
def worlds(file: str = "records.yaml") -> dict[str, dict[str, list[str]]]:
    """World -> field -> [kind, wording, ...]."""
    return read_yaml(Path(__file__).with_name(file))


def relations() -> dict[str, dict[str, list[str]]]:
    """Worlds whose fields come in pairs of one kind, which only the wording tells apart."""
    return worlds("relations.yaml")


def draw_value(kind: str, rng: random.Random) -> str:
    if kind in WORDS:
        text = WORDS[kind]
        return rng.choice(text.split("|") if "|" in text else text.split())
    return KINDS[kind](rng, supply("zoo")).spoken


def record(
    rng: random.Random, renamed: float = 0.0, rare: float = 0.0, typed: float = 0.0
) -> tuple[str, dict[str, str]]:
    """A few spoken sentences, and the fields they give: name -> verbatim value.

    A share `renamed` of the fields bears a name drawn at random and is stated plainly, so that names have
    to be read and cannot be remembered; a share `rare` of such names' words is rare. A share `typed` bears
    a name that ends in what the value is, which then may be all that tells.
    """
    world = worlds()[rng.choice(sorted(worlds()))]
    kinds = [*sorted(KINDS), *WORDS]
    fields: dict[str, str] = {}
    parts: list[str] = []
    told: set[str] = set()  # kinds that are in the text
    for name in rng.sample(sorted(world), k=rng.choice((1, 1, 2, 2, 3, 4))):
        kind, *wordings = world[name]
        if rng.random() < PLAIN_SHARE:
            name, kind = " ".join(rng.sample(NOUNS, k=rng.choice((1, 2)))), rng.choice(kinds)
            wordings = []
        bare = False
        if typed and rng.random() < typed:
            name, kind = typed_name(rng, rare)
            bare = kind not in told and rng.random() < BARE_SHARE
            wordings = list(BARE_LINKS if bare else RENAMED_LINKS)
        elif renamed and rng.random() < renamed:
            name, wordings = drawn_name(rng, rare), list(RENAMED_LINKS)
        value = draw_value(kind, rng)
        if name in fields or any(value in v or v in value for v in fields.values()):
            continue
        plain = not wordings or (not bare and rng.random() < 0.35)
        wording = rng.choice(LINKS if plain else wordings).replace("{f}", name)
        fields[name] = value
        told.add(kind)
        parts.append(wording.replace("{v}", value))
        if rng.random() < 0.3:
            parts.append(rng.choice(FILLERS if rng.random() < 0.7 else AFTERWARDS))
    return " ".join(parts), fields


def related_record(rng: random.Random) -> tuple[str, dict[str, str], list[str]]:
    """Sentences and fields as `record` gives them, and the names of the world's fields that are not said."""
    world = relations()[rng.choice(sorted(relations()))]
    fields: dict[str, str] = {}
    parts: list[str] = []
    for name in rng.sample(sorted(world), k=rng.choice((1, 1, 2, 2, 2, 3))):
        kind, *wordings = world[name]
        value = draw_value(kind, rng)
        if any(value in v or v in value for v in fields.values()):
            continue
        if parts and rng.random() < 0.4:
            parts.append(rng.choice(FILLERS))
        wording = rng.choice(LINKS).replace("{f}", name) if rng.random() < 0.1 else rng.choice(wordings)
        fields[name] = value
        parts.append(wording.replace("{v}", value))
    return " ".join(parts), fields, [name for name in sorted(world) if name not in fields]
