"""Records: a few spoken sentences and the fields they give, of which the embedded LLM learns to extract.

Two files of small worlds say what there is to tell and how people tell it. Fields are also named at random,
or after what their value is. No field is a slot of the corpus.
"""

from __future__ import annotations

import base64
import random
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.corpora.call_centre.names import name_lists
from speechllm_bench.data.corpora.call_centre.values import KINDS, supply
from speechllm_bench.settings.strict import read_yaml

N_COMMON = 10_000  # the most frequent of GPT-2's vocabulary

WORDS = {  # closed lists of the record worlds
    "animal": "horse goat rabbit donkey parrot hedgehog sheep turtle squirrel falcon",
    "colour": "red blue green yellow purple orange white black silver pink",
    "dish": "stew soup pancakes dumplings omelette pie pasta curry porridge waffles",
    "instrument": "violin trumpet cello flute drum harp piano banjo clarinet tuba",
    "plant": "barley oak pepper clover maple ginger wheat cotton lavender mint",
    "subject": "history physics latin drawing algebra music geography chemistry",
    "wind": "a gale|a light breeze|no wind at all|a strong gust|a cold draught",
}
NOUNS = """
anchor apple arch arrow badge ball bank barrel basket bell bench bird blanket boat bone book boot bottle bow
box branch bread brick bridge brush bucket button cabinet candle cap carpet castle chain chair chalk cheese
church circle cloth cloud coin comb compass cork crown cup curtain desk dial dish door drawer dress drum
engine feather fence field finger fire flag floor flower fork frame fruit garden gate glass glove gold grain
guard hammer handle hat hill hook horn house island jacket jar jewel joint key kite knife knot ladder lake
lamp leaf letter lid line lock map mask mast match metal mill mirror moon mountain nail neck needle nest net
nut oar page paint pan paper path peak pen pillow pin pipe plank plate plough pocket pole pool pot powder
pump ring river road rod roof rope rose sail salt sand saw scale screen screw shade shell shirt shoe sign
silk skin skirt snow soap sock song spade spark sponge spoon spring square stage stamp star station steam
stem step stick stone string sugar sun sword table tail tent thread throat thumb tower track train tray
trunk tube valley wagon wall watch wave wax wheel whistle window wing wire wood wool
""".split()


@cache
def common_words() -> tuple[str, ...]:
    """English words of GPT-2's vocabulary, which openai-whisper ships; no names of the corpus."""
    lines = files("whisper").joinpath("assets/gpt2.tiktoken").read_bytes().splitlines()
    names = {name for names in name_lists().values() for name in names}
    tokens = (base64.b64decode(line.split()[0]) for line in lines)
    words = [token[1:].decode() for token in tokens if re.fullmatch(rb" [a-z]{3,12}", token)]
    # Without a vowel it is an abbreviation, which espeak-ng spells out.
    return tuple(word for word in words if word not in names and re.search("[aeiouy]", word))[:N_COMMON]


def words_in_no_order(rng: random.Random) -> str:
    """Two to six common words: what cannot be guessed has to be heard, or copied."""
    return " ".join(rng.choice(common_words()) for _ in range(rng.randint(2, 6)))


TYPES = {  # last word of a name -> what the field's values may look like
    "address": ("address",),
    "amount": ("money",),
    "bill": ("money",),
    "city": ("city",),
    "code": ("reference", "digits4"),
    "cost": ("money",),
    "count": ("number_small",),
    "date": ("date", "month_day"),
    "dish": ("dish",),
    "email": ("email",),
    "language": ("language",),
    "law": ("law",),
    "length": ("duration",),
    "name": ("person", "person", "company"),
    "number": ("digits6", "phone", "reference"),
    "product": ("product",),
    "size": ("number_small",),
    "street": ("street",),
    "time": ("weekday_time", "time"),
    "vehicle": ("vehicle",),
}


@cache
def unseen_words() -> set[str]:
    """Words that only unseen slot types are named with. No example asks for one (protocol rule 2)."""
    seen, unseen = (
        {word for t in call_centre.slot_types().values() if t.ood == ood for word in t.name.split("_")}
        for ood in (False, True)
    )
    return unseen - seen


@cache
def field_words() -> list[str]:
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
    """One to three words at random, a share of them rare."""
    return _free(rng, lambda: " ".join(_word(rng, rare) for _ in range(rng.choice((1, 2, 2, 2, 3)))))


def typed_name(rng: random.Random, rare: float = 0.0) -> tuple[str, str]:
    """A word or two at random and then a word that says what the value is; and the value's kind."""
    last = rng.choice(sorted(TYPES))
    name = _free(rng, lambda: " ".join([*(_word(rng, rare) for _ in range(rng.choice((1, 1, 1, 2)))), last]))
    return name, rng.choice(TYPES[last])


def _word(rng: random.Random, rare: float) -> str:
    return rng.choice(rare_words() if rare and rng.random() < rare else field_words())


def _free(rng: random.Random, draw: Callable[[], str]) -> str:
    """A name that `draw` gives, drawn again until it is no slot of the corpus."""
    while (name := draw()).replace(" ", "_") in call_centre.slot_types():
        pass
    return name


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
