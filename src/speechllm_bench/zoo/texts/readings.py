"""Utterances of the zoo split's voices: readings that whisper-mini learns from, and records to ask about.

Half of the readings are caller turns. The rest is there so that the model learns to spell what it hears and
not only the corpus's wordings: agent turns, records of `small_worlds.py`, and common English words in no
order.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.corpora.call_centre.splits import Split, split_named
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.zoo.texts.small_worlds import common_words, record, words_in_no_order
from speechllm_bench.zoo.texts.written import extraction

CALLER_SHARE, WORDS_SHARE, RECORD_SHARE = 0.5, 0.2, 0.2  # the rest are agent turns
FREQUENT_WORDS = (3, 10)  # of a varied reading
REPEATS = 2  # utterances of one and the same transcript ("yes", "thank you") at most


@dataclass(frozen=True)
class Manner:
    """How long and how varied the readings of a phase of training are."""

    longest: int  # words; what is longer takes its time in training and teaches no more
    joined: float  # share of the readings that go on with a second text in the same breath
    skipped: int  # caller turns of the zoo split that another manner reads
    varied: float = 0.0  # share of the readings that are frequent words in no order, before all others


SHORT = Manner(longest=14, joined=0.0, skipped=0)  # teaches soonest to hear at all
LONG = Manner(longest=26, joined=0.5, skipped=60_000)  # as long as the longest turns of the test splits
VARIED = Manner(longest=26, joined=0.5, skipped=120_000, varied=0.4)  # for wordings that nobody foresees
MIXED = Manner(longest=26, joined=0.5, skipped=180_000, varied=0.25)  # between the two before


def read_aloud(n: int, seed: int, manner: Manner) -> list[Utterance]:
    """n utterances, each with a voice of the zoo split."""
    turns = call_centre.utterances("zoo", manner.skipped + 2 * n)[manner.skipped :]
    callers, voices = iter(turns), split_named("zoo")
    read: list[Utterance] = []
    times: Counter[str] = Counter()
    index = manner.skipped
    while len(read) < n:
        rng = random.Random(f"zoo/{seed}/reading/{index}")
        index += 1
        varied = manner.varied and rng.random() < manner.varied
        drawn = rng.random()
        if drawn < CALLER_SHARE and not varied:
            utterance = next(callers)
        else:
            transcript = _frequent_words(rng) if varied else _transcript(drawn, turns, rng)
            utterance = _said(f"reading/{index}", transcript, voices, rng)
        if manner.joined and rng.random() < manner.joined:
            second = _transcript(rng.uniform(CALLER_SHARE, 1), turns, rng)
            utterance = replace(utterance, transcript=f"{utterance.transcript} {second}")
        times[utterance.transcript] += 1
        if times[utterance.transcript] <= REPEATS and len(utterance.transcript.split()) <= manner.longest:
            read.append(utterance)
    return read


def spoken_records(
    n: int, seed: int, calls: list[Utterance], shares: Mapping[str, float]
) -> list[tuple[Example, Utterance]]:
    """n records as `extraction` asks for their fields, spoken; not longer than the readings are.

    calls: of the zoo split, whose turns stand before some of them; shares: those of `extraction`.
    """
    voices = split_named("zoo")
    found: list[tuple[Example, Utterance]] = []
    for index in count():
        if len(found) == n:
            break
        example, text = extraction(index, seed, calls, **shares)
        if len(text.split()) <= MIXED.longest:
            rng = random.Random(f"zoo/{seed}/spoken/{index}")
            found.append((example, _said(example.utterance_id, text, voices, rng)))
    return found


def _said(id: str, text: str, voices: Split, rng: random.Random) -> Utterance:
    """The text in a voice that is drawn for it."""
    voice = replace(voices.voice(rng), seed=rng.getrandbits(31))
    return Utterance(id, "zoo", "", transcript=text, speaker=voice.speaker, voice=voice)


def _transcript(drawn: float, turns: list[Utterance], rng: random.Random) -> str:
    if drawn < CALLER_SHARE + WORDS_SHARE:
        return words_in_no_order(rng)
    if drawn < CALLER_SHARE + WORDS_SHARE + RECORD_SHARE:
        return record(rng)[0]
    return rng.choice(turns).context[-1].text


def _frequent_words(rng: random.Random) -> str:
    """Common words in no order, the more frequent ones more often."""
    words = common_words()
    n = rng.randint(*FREQUENT_WORDS)
    return " ".join(words[int(len(words) * rng.random() ** 3)] for _ in range(n))
