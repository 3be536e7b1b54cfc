"""The text that the embedded LLM learns from; none of it asks for a slot of the corpus.

Pre-training reads calls of the zoo split, descriptions of slots in plain words (unseen slot types too:
protocol rule 2) and records. Post-training asks for fields of records, only ones that are present, and
for verbatim repetition.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.corpora.call_centre.values import KINDS, supply
from speechllm_bench.data.tasks import slots, transcription
from speechllm_bench.data.tasks.prompt import AUDIO, user_message
from speechllm_bench.schema import Example, Utterance
from speechllm_bench.zoo.words import NOUNS, WORDS, common_words, words_in_no_order

LINKS = ("the {f} is {v}", "{v} is the {f}", "the {f} was {v}", "{f} {v}", "as for the {f} it is {v}")
RENAMED_LINKS = (
    *LINKS,
    *("my {f} is {v}", "{v} for the {f}", "the {f} would be {v} please", "put {v} as {f}", "{v} {f}"),
    *("it's {v} the {f}", "i need a {f} {v}", "do you have {v} as {f}", "the {f} should be {v}"),
    "about the {f} {v}",
)
FILLERS = ("and", "so", "well", "um", "then", "i think", "you know", "yes", "now", "but")
AFTERWARDS = ("that is all", "i think", "as far as i know", "if i remember", "and that was it", "anyway")
CONTEXT_SHARE = 0.3  # of the extraction examples
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


@cache
def unseen_words() -> set[str]:
    """Words that only unseen slot types are named with. No example asks for one (protocol rule 2)."""
    seen, unseen = (
        {word for t in call_centre.slot_types().values() if t.ood == ood for word in t.name.split("_")}
        for ood in (False, True)
    )
    return unseen - seen


@cache
def vocabulary() -> list[str]:
    """Words that fields can be named after at random: common ones of the zoo split's calls and of English."""
    spoken = call_centre.utterances("zoo", 2000)
    texts = [text for u in spoken for text in (u.transcript, *(t.text for t in u.context))]
    counted = Counter(word for text in texts for word in text.split())
    known = {word for word, n in counted.items() if n >= 5} | set(common_words()[:1500])
    return sorted(known - unseen_words())


@cache
def rare_words() -> list[str]:
    """English words that mostly are several tokens: a name made of them has to be spelt, not recalled."""
    return sorted(set(common_words()) - unseen_words())


def drawn_name(rng: random.Random, rare: float = 0.0) -> str:
    """One to three words at random, a share of them rare, but never the name of a slot of the corpus."""
    while True:
        n_words = rng.choice((1, 2, 2, 2, 3))
        name = " ".join(
            rng.choice(rare_words() if rare and rng.random() < rare else vocabulary()) for _ in range(n_words)
        )
        if name.replace(" ", "_") not in call_centre.slot_types():
            return name


def record(rng: random.Random, renamed: float = 0.0, rare: float = 0.0) -> tuple[str, dict[str, str]]:
    """A few spoken sentences, and the fields they give: name -> verbatim value.

    A share `renamed` of the fields bears a name drawn at random and is stated plainly, so that names have
    to be read and cannot be remembered; a share `rare` of such names' words is rare.
    """
    world = worlds()[rng.choice(sorted(worlds()))]
    kinds = [*sorted(KINDS), *WORDS]
    fields: dict[str, str] = {}
    parts: list[str] = []
    for name in rng.sample(sorted(world), k=rng.choice((1, 1, 2, 2, 3, 4))):
        kind, *wordings = world[name]
        if rng.random() < PLAIN_SHARE:
            name, kind = " ".join(rng.sample(NOUNS, k=rng.choice((1, 2)))), rng.choice(kinds)
            wordings = []
        if renamed and rng.random() < renamed:
            name, wordings = drawn_name(rng, rare), list(RENAMED_LINKS)
        value = draw_value(kind, rng)
        if name in fields or any(value in v or v in value for v in fields.values()):
            continue
        plain = not wordings or rng.random() < 0.35
        wording = rng.choice(LINKS if plain else wordings).replace("{f}", name)
        fields[name] = value
        parts.append(wording.replace("{v}", value))
        if rng.random() < 0.3:
            parts.append(rng.choice(FILLERS if rng.random() < 0.7 else AFTERWARDS))
    return " ".join(parts), fields


def extraction(
    index: int, seed: int, utterances: list[Utterance], renamed: float = 0.0, rare: float = 0.0
) -> tuple[Example, str]:
    """A request for the fields of a record, all of them present, and the record's text.

    Now and then a call's turns stand before it, as in the studies; they have nothing to do with it.
    """
    rng = random.Random(f"zoo/{seed}/extraction/{index}")
    names: list[str] = []
    while not names:
        text, fields = record(rng, renamed, rare)
        names = [name for name in fields if not unseen_words() & set(name.split())]
    rng.shuffle(names)
    names = names[: rng.randint(1, len(names))]
    context = rng.choice(utterances).context[-rng.randint(1, 3) :] if rng.random() < CONTEXT_SHARE else []
    return (
        Example(
            id=f"extraction/{index}",
            utterance_id=f"extraction/{index}",
            task="slots",
            prompt=user_message(context, "fill in as json: " + ", ".join(names)),
            target=slots.target({name: fields[name] for name in names}),
        ),
        text,
    )


def post_training(
    index: int,
    seed: int,
    utterances: list[Utterance],
    renamed: float = 0.0,
    rare: float = 0.0,
    repeated: float = 0.3,
) -> tuple[Example, str]:
    """Example `index` of post-training, and the text it is about."""
    rng = random.Random(f"zoo/{seed}/post/{index}")
    if rng.random() >= repeated:
        return extraction(index, seed, utterances, renamed, rare)
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
