"""The text that the embedded LLM learns from; none of it asks for a slot of the corpus.

Pre-training reads calls of the zoo split, descriptions of slots in plain words (unseen slot types too:
protocol rule 2), records, and lines of marks. Post-training asks for fields of records and for verbatim
repetition.

Lines of marks hold every printable character, as numbers, lists, markup and code have them. The corpus is
lower-case words. An LLM that has read nothing else has never written a digit or a tag. All that it never
writes ends with nearly one output vector, so LoRA, which leaves that layer alone, can hardly teach it to tell
such characters apart. None of these lines has the form of a trace or of a question.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.tasks import slots, transcription
from speechllm_bench.tasks.prompt import AUDIO, user_message
from speechllm_bench.tasks.task import Draw
from speechllm_bench.zoo.texts.small_worlds import (
    NOUNS,
    drawn_name,
    record,
    related_record,
    typed_name,
    unseen_words,
    words_in_no_order,
)

ALL_SAID = ("nothing else", "only that", "no more than that", "just this")
CONTEXT_SHARE = 0.3  # of the extraction examples
EMPTY_SHARE = 0.15  # of the requests for absent fields too: they ask for nothing else
TYPED_ABSENT = 0.8  # of the absent fields that are asked for
ACCENTED = "áàâçéèêëíîïñóôœúùûü¿¡"
CHARACTERS = string.ascii_letters + string.digits + string.punctuation + ACCENTED
CHAT = ("<|user|>", "<|assistant|>")  # tokens of their own, of which a base LLM knows no use


def _absent(fields: dict[str, str], unsaid: list[str], rng: random.Random, rare: float) -> list[str]:
    """One to five names of fields that the text does not give: `unsaid` ones, or of another kind of name."""
    if unsaid:
        return rng.sample(unsaid, k=min(len(unsaid), rng.randint(1, 5)))
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
    related: float = 0.0,
) -> tuple[Example, str]:
    """A request for the fields of a record, and the record's text.

    All fields are present, so that the LLM fills whatever it is asked for. Only in a share `closed`, where
    the speaker says that there is nothing else, absent ones are asked for too and left out of the answer.
    Now and then a call's turns stand before it, as in the studies; they have nothing to do with it.
    """
    rng = random.Random(f"zoo/{seed}/extraction/{index}")
    names: list[str] = []
    while not names:
        if related and rng.random() < related:
            text, fields, unsaid = related_record(rng)
        else:
            (text, fields), unsaid = record(rng, renamed, rare, typed), []
        names = [name for name in fields if not unseen_words() & set(name.split())]
    rng.shuffle(names)
    names = names[: rng.randint(1, len(names))]
    if closed and rng.random() < closed:
        names = [*(names if rng.random() >= EMPTY_SHARE else []), *_absent(fields, unsaid, rng, rare)]
        rng.shuffle(names)
        said = rng.choice(ALL_SAID)
        text = f"{text} {said}" if rng.random() < 0.7 else f"{said} {text}"
    context = rng.choice(utterances).context[-rng.randint(1, 3) :] if rng.random() < CONTEXT_SHARE else []
    return (
        Example(
            id=f"extraction/{index}",
            utterance_id=f"extraction/{index}",
            task=slots.NAME,
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
    utterance = Utterance(f"repeat/{index}", "zoo", "", transcript=text)
    return transcription.example(utterance, Draw({}, rng)), text


def _repeated(utterances: list[Utterance], rng: random.Random) -> str:
    drawn = rng.random()
    if drawn < 0.45:
        return rng.choice(utterances).transcript
    if drawn < 0.55:
        return _description(rng)
    return record(rng)[0] if drawn < 0.75 else words_in_no_order(rng)


def pre_training(seed: int, utterances: list[Utterance], marked: float = 0.0) -> Iterator[str]:
    """Endless plain text: calls, slot descriptions, records, words in no order, and records as JSON; a share
    `marked` of it lines of marks.
    """
    rng = random.Random(f"zoo/{seed}/pre")
    while True:
        if marked and rng.random() < marked:
            yield marks(rng)
            continue
        drawn = rng.random()
        if drawn < 0.45:
            utterance = rng.choice(utterances)
            turns = [*(f"{t.role}: {t.text}" for t in utterance.context[-3:])]
            yield "\n".join([*turns, f"caller: {utterance.transcript}"])
        elif drawn < 0.6:
            yield _description(rng)
        elif drawn < 0.73:
            yield (record if rng.random() < 0.5 else related_record)(rng)[0]
        elif drawn < 0.81:
            yield words_in_no_order(rng)
        else:
            example, text = extraction(rng.randrange(10**9), seed, utterances)
            yield example.prompt.replace(AUDIO, f" {text}") + "\n" + example.target


def _description(rng: random.Random) -> str:
    slot = rng.choice(sorted(call_centre.slot_types().values(), key=lambda t: t.name))
    return describe(slots.spoken_name(slot.name), slot.description, slot.paraphrases, rng)


def describe(name: str, description: str, paraphrases: tuple[str, ...], rng: random.Random) -> str:
    """A sentence on what a slot's name means."""
    forms = [f"the {name} is the {description}", f"{description} is called {name}"]
    forms += [f"{name} means {p}" for p in paraphrases] + [
        f"{p} is another word for {name}" for p in paraphrases
    ]
    return rng.choice(forms)


def marks(rng: random.Random) -> str:
    return rng.choice(FORMS)(rng)


def _list(rng: random.Random) -> str:
    return json.dumps(rng.sample(NOUNS, k=rng.randint(0, 4)))


def _object(rng: random.Random) -> str:
    values: list = [*rng.sample(NOUNS, k=3), rng.randint(0, 99), None, True, [], {}]
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
