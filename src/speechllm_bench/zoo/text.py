"""The text that the embedded LLM learns from; none of it asks for a slot of the corpus.

Pre-training reads calls of the zoo split, descriptions of slots in plain words (unseen slot types too:
protocol rule 2) and records. Post-training asks for fields of records and for verbatim repetition.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.corpora.call_centre.values import KINDS, supply
from speechllm_bench.data.tasks import slots, transcription
from speechllm_bench.data.tasks.prompt import AUDIO, user_message
from speechllm_bench.schema import Example, Utterance
from speechllm_bench.zoo.field_names import drawn_name, typed_name, unseen_words
from speechllm_bench.zoo.words import NOUNS, WORDS, words_in_no_order

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
ALL_SAID = ("nothing else", "only that", "no more than that", "just this")
FILLERS = ("and", "so", "well", "um", "then", "i think", "you know", "yes", "now", "but")
AFTERWARDS = ("that is all", "i think", "as far as i know", "if i remember", "and that was it", "anyway")
CONTEXT_SHARE = 0.3  # of the extraction examples
BARE_SHARE = 0.6  # of the typed names that could be told by their value alone
EMPTY_SHARE = 0.15  # of the requests for absent fields too: they ask for nothing else
TYPED_ABSENT = 0.8  # of the absent fields that are asked for
PLAIN_SHARE = 0.25  # of the fields: named after things at random, stated plainly


@cache
def worlds() -> dict[str, dict[str, list[str]]]:
    """World -> field -> [kind, wording, ...]."""
    return yaml.safe_load(Path(__file__).with_name("records.yaml").read_text(encoding="utf-8"))


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


def _absent(fields: dict[str, str], rng: random.Random, rare: float) -> list[str]:
    """One to five names of fields that the text does not give, none of a kind of name that it does."""
    names = list(fields)
    for _ in range(rng.randint(1, 5)):
        name = typed_name(rng, rare)[0] if rng.random() < TYPED_ABSENT else drawn_name(rng, rare)
        if name.split()[-1] not in {n.split()[-1] for n in names}:
            names.append(name)
    return names[len(fields) :]


def extraction(
    index: int,
    seed: int,
    utterances: list[Utterance],
    renamed: float = 0.0,
    rare: float = 0.0,
    typed: float = 0.0,
    closed: float = 0.0,
) -> tuple[Example, str]:
    """A request for the fields of a record, and the record's text.

    All fields are present, so that the LLM fills whatever it is asked for. Only in a share `closed`, where
    the speaker says that there is nothing else, absent ones are asked for too and left out of the answer.
    Now and then a call's turns stand before it, as in the studies; they have nothing to do with it.
    """
    rng = random.Random(f"zoo/{seed}/extraction/{index}")
    names: list[str] = []
    while not names:
        text, fields = record(rng, renamed, rare, typed)
        names = [name for name in fields if not unseen_words() & set(name.split())]
    rng.shuffle(names)
    names = names[: rng.randint(1, len(names))]
    if closed and rng.random() < closed:
        names = [*(names if rng.random() >= EMPTY_SHARE else []), *_absent(fields, rng, rare)]
        rng.shuffle(names)
        said = rng.choice(ALL_SAID)
        text = f"{text} {said}" if rng.random() < 0.7 else f"{said} {text}"
    context = rng.choice(utterances).context[-rng.randint(1, 3) :] if rng.random() < CONTEXT_SHARE else []
    return (
        Example(
            id=f"extraction/{index}",
            utterance_id=f"extraction/{index}",
            task="slots",
            prompt=user_message(context, "fill in as json: " + ", ".join(names)),
            target=slots.target({name: fields[name] for name in names if name in fields}),
        ),
        text,
    )


def post_training(
    index: int, seed: int, utterances: list[Utterance], repeated: float = 0.3, **shares: float
) -> tuple[Example, str]:
    """Example `index` of post-training, and the text it is about; `shares` are those of `extraction`."""
    rng = random.Random(f"zoo/{seed}/post/{index}")
    if rng.random() >= repeated:
        return extraction(index, seed, utterances, **shares)
    text = _repeated(utterances, rng)
    utterance = Utterance(f"repeat/{index}", "zoo", "", 0, "", "", "", text, (), (), "", (), "")
    return transcription.example(utterance, {}, rng), text


def _repeated(utterances: list[Utterance], rng: random.Random) -> str:
    drawn = rng.random()
    if drawn < 0.5:
        return rng.choice(utterances).transcript
    return record(rng)[0] if drawn < 0.7 else words_in_no_order(rng)


def pre_training(seed: int, utterances: list[Utterance]) -> Iterator[str]:
    """Endless plain text: calls, slot descriptions, records, words in no order, and records as JSON."""
    rng = random.Random(f"zoo/{seed}/pre")
    types = sorted(call_centre.slot_types().values(), key=lambda t: t.name)
    while True:
        drawn = rng.random()
        if drawn < 0.45:
            utterance = rng.choice(utterances)
            turns = [*(f"{t.role}: {t.text}" for t in utterance.context[-3:])]
            yield "\n".join([*turns, f"caller: {utterance.transcript}"])
        elif drawn < 0.6:
            slot = rng.choice(types)
            yield describe(slots.spoken(slot.name), slot.description, slot.paraphrases, rng)
        elif drawn < 0.73:
            yield record(rng)[0]
        elif drawn < 0.81:
            yield words_in_no_order(rng)
        else:
            example, text = extraction(rng.randrange(10**9), seed, utterances)
            yield example.prompt.replace(AUDIO, f" {text}") + "\n" + example.target


def describe(name: str, description: str, paraphrases: tuple[str, ...], rng: random.Random) -> str:
    """A sentence on what a slot's name means."""
    forms = [f"the {name} is the {description}", f"{description} is called {name}"]
    forms += [f"{name} means {p}" for p in paraphrases] + [
        f"{p} is another word for {name}" for p in paraphrases
    ]
    return rng.choice(forms)
