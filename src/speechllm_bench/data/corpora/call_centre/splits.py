"""Splits of the call centre: disjoint wordings, speakers and shares of the open-class values.

This implements protocol rule 1. Every open-class word or number belongs to exactly one share, by a hash of
its own text, so membership does not depend on the rest of a list. Speakers (accent and variant) are divided
among the splits. A-test and B-test have the same test speakers, which no other split has.

The corpus has two editions. `FORMANT` is spoken by espeak-ng and has made-up names. `NEURAL` is spoken by
neural voices. It has names that a recogniser can know, and a C-test with its own speakers and values.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from speechllm_bench.data.neural_voices import STYLES
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Voice

# espeak-ng voices; "en" is its British English (there is no voice of the name "en-gb").
ACCENTS = (
    "en-us",
    "en",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
)
VARIANTS = ("m1", "f1", "m2", "m3", "f2", "m4", "f3", "m5", "m6", "f4", "m7", "f5", "m8")
_DEAL = ("zoo",) * 4 + ("train",) * 4 + ("validation",) + ("test",) * 4  # split of an accent's variants


Speaker = tuple[str, str]
"""Accent and variant of a voice, which identify a speaker."""


@dataclass(frozen=True)
class Edition:
    """One edition of the corpus: its names, speakers, and the division of values among its splits."""

    corpus: str  # its name, the prefix of its utterance ids
    version: str  # raise it with every change of this package's code that changes an utterance of it
    seed: str  # seed of the calls' random generators; another seed changes all transcripts
    names: str  # file of its name lists
    shares: tuple[str, ...]  # split of each tenth of the open-class values and company names
    splits: tuple[str, ...]
    speakers: Callable[[str], tuple[Speaker, ...]]  # by group: a split, or "test" for A-test and B-test
    rate: tuple[int, int]  # bounds of the draw of a call, in the units of `schema.Voice`
    pitch: tuple[int, int]
    snr_db: tuple[float, float]

    def share_of(self, text: str) -> str:
        """Return the share that a value belongs to. Validation uses the share "train"."""
        digest = hashlib.sha256(text.encode()).digest()
        return self.shares[int.from_bytes(digest[:4], "big") % len(self.shares)]

    def split(self, name: str) -> Split:
        """Return the definition of a split. Raises UserError for an unknown name."""
        if name not in self.splits:
            raise UserError(
                f'the corpus {self.corpus} has no split "{name}": choose one of {", ".join(self.splits)}'
            )
        return Split(
            name=name,
            wordings="B" if name == "B-test" else "A",
            share="train" if name == "validation" else name,
            speakers=self.speakers("test" if name in ("A-test", "B-test") else name),
            edition=self,
        )


@cache
def _formant_speakers(group: str) -> tuple[Speaker, ...]:
    """Return a group's espeak-ng speakers.

    The deal starts at another variant for each accent, so every group has most variants.
    """
    return tuple(
        (accent, VARIANTS[(place + 6 * i) % len(VARIANTS)])
        for i, accent in enumerate(ACCENTS)
        for place, owner in enumerate(_DEAL)
        if owner == group
    )


@cache
def _neural_speakers(group: str) -> tuple[Speaker, ...]:
    """Return a group's neural speakers: mixtures of styles that no other group has, and `joe` in training."""
    return _dealt_mixtures()[group] + (_JOES if group == "train" else ())


@cache
def _dealt_mixtures() -> dict[str, tuple[Speaker, ...]]:
    """Return mixtures by group. Those of different groups differ in at least a fifth of their shares."""
    rng = random.Random("neural speakers")
    dealt: dict[str, list[tuple[Speaker, dict[str, int]]]] = {group: [] for group in _MIXTURES}
    for group, n in _MIXTURES.items():
        others = [mixture for other in dealt if other != group for _, mixture in dealt[other]]
        while len(dealt[group]) < n:
            mixture = _mixture(rng)
            own = [known for _, known in dealt[group]]
            if mixture in own or any(_distance(mixture, other) < 4 for other in others):
                continue
            shares = "+".join(f"{style}:{tenths}" for style, tenths in mixture.items())
            accent = rng.choice(("kokoro-us", "kokoro-us", "kokoro-gb"))
            dealt[group].append(((accent, f"{shares}@{rng.randint(94, 106)}"), mixture))
    return {group: tuple(speaker for speaker, _ in speakers) for group, speakers in dealt.items()}


def _mixture(rng: random.Random) -> dict[str, int]:
    """Return the drawn tenths of one to three styles, in the order of `STYLES`."""
    chosen = rng.sample(STYLES, rng.choice((1, 2, 2, 3, 3)))
    cuts = sorted(rng.sample(range(1, 10), len(chosen) - 1))
    tenths = [end - start for start, end in zip([0, *cuts], [*cuts, 10], strict=True)]
    return dict(sorted(zip(chosen, tenths, strict=True), key=lambda pair: STYLES.index(pair[0])))


def _distance(one: dict[str, int], other: dict[str, int]) -> int:
    """Return the sum over styles of the absolute differences of two mixtures, in tenths."""
    return sum(abs(one.get(style, 0) - other.get(style, 0)) for style in STYLES)


_MIXTURES = {"test": 32, "C-test": 24, "validation": 8, "train": 24}
# `joe` speaks four of five training turns, since mixtures take five times as long.
_JOES = 3 * tuple(("piper-us", f"joe@{scale}") for scale in range(84, 116))

FORMANT = Edition(
    corpus="call_centre",
    version="4",
    seed="2",
    names="names.json",
    shares=("zoo",) * 4 + ("train",) * 4 + ("A-test", "B-test"),
    splits=("zoo", "train", "validation", "A-test", "B-test"),
    speakers=_formant_speakers,
    rate=(110, 165),
    pitch=(30, 70),
    snr_db=(15, 30),
)
NEURAL = Edition(
    corpus="call_centre_neural",
    version="5",
    seed="neural 1",
    names="names_real.json",
    shares=("train",) * 7 + ("A-test", "B-test", "C-test"),
    splits=("train", "validation", "A-test", "B-test", "C-test"),
    speakers=_neural_speakers,
    rate=(88, 104),
    pitch=(97, 103),
    snr_db=(30, 40),
)


@dataclass(frozen=True)
class Split:
    """One split of an edition: its wordings, values and voices."""

    name: str
    wordings: str  # "A" or "B"
    share: str  # its share of the open-class values and company names
    speakers: tuple[Speaker, ...]
    edition: Edition = FORMANT

    def voice(self, rng: random.Random) -> Voice:
        """Return the voice of a call: a speaker of the split with drawn rate, pitch and noise; seed is 0."""
        accent, variant = rng.choice(self.speakers)
        edition = self.edition
        rate, pitch = rng.randint(*edition.rate), rng.randint(*edition.pitch)
        return Voice(accent, variant, rate, pitch, round(rng.uniform(*edition.snr_db), 1), 0)


def split_named(name: str) -> Split:
    """Return a split of the espeak-ng edition. Raises UserError for an unknown name."""
    return FORMANT.split(name)
