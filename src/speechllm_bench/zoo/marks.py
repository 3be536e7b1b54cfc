"""Lines of marks: every printable character, as numbers, lists, markup and code have them.

The corpus is lower-case words. An LLM that has read nothing else has never written a digit or a tag, and what
it never writes ends with nearly one output vector for all, so LoRA, which leaves that layer alone, can hardly
teach it to tell them apart. None of these lines has the form of a trace or of a question.
"""

from __future__ import annotations

import json
import random
import string

from speechllm_bench.zoo.words import NOUNS

ACCENTED = "áàâçéèêëíîïñóôœúùûü¿¡"
CHARACTERS = string.ascii_letters + string.digits + string.punctuation + ACCENTED
CHAT = ("<|user|>", "<|assistant|>")  # tokens of their own, of which a base LLM knows no use


def line(rng: random.Random) -> str:
    return rng.choice(FORMS)(rng)


def _list(rng: random.Random) -> str:
    return json.dumps(rng.sample(NOUNS, k=rng.randint(0, 4)))


def _object(rng: random.Random) -> str:
    values = [*rng.sample(NOUNS, k=3), rng.randint(0, 99), None, True, [], {}]
    return json.dumps({name: rng.choice(values) for name in rng.sample(NOUNS, k=rng.randint(0, 3))})


def _sum(rng: random.Random) -> str:
    """Without its result: arithmetic is for post-trainings."""
    terms = [str(rng.randint(0, 99)) for _ in range(rng.randint(2, 4))]
    return "".join(f"{term} {rng.choice('+-*/')} " for term in terms[:-1]) + terms[-1]


def _markup(rng: random.Random) -> str:
    tag, *words = rng.sample(NOUNS, k=rng.randint(2, 4))
    return f"<{tag}>{' '.join(words)}</{tag}>"


def _code(rng: random.Random) -> str:
    name, other = rng.sample(NOUNS, k=2)
    return f"{name} = {rng.randint(0, 99)}; {other} = {name} {rng.choice('+-*')} {rng.randint(0, 9)}"


def _spelled(rng: random.Random) -> str:
    """Characters in no order, now and then between words, now and then a mark of the chat."""
    parts = rng.choices([*CHARACTERS, *CHAT], k=rng.randint(8, 16)) + rng.sample(NOUNS, k=rng.randint(0, 3))
    rng.shuffle(parts)
    return rng.choice(("", " ")).join(parts)


FORMS = (_list, _object, _sum, _markup, _code, _spelled, _spelled)
