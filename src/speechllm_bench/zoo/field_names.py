"""Names of fields that the embedded LLM is asked for; none of them names a slot of the corpus."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.zoo.words import common_words

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
    """One to three words at random, a share of them rare."""
    return _free(rng, lambda: " ".join(_word(rng, rare) for _ in range(rng.choice((1, 2, 2, 2, 3)))))


def typed_name(rng: random.Random, rare: float = 0.0) -> tuple[str, str]:
    """A word or two at random and then a word that says what the value is; and the value's kind."""
    last = rng.choice(sorted(TYPES))
    name = _free(rng, lambda: " ".join([*(_word(rng, rare) for _ in range(rng.choice((1, 1, 1, 2)))), last]))
    return name, rng.choice(TYPES[last])


def _word(rng: random.Random, rare: float) -> str:
    return rng.choice(rare_words() if rare and rng.random() < rare else vocabulary())


def _free(rng: random.Random, draw) -> str:
    """What `draw` gives, drawn again until it is no slot of the corpus."""
    while (name := draw()).replace(" ", "_") in call_centre.slot_types():
        pass
    return name
