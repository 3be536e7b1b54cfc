"""Shares that keep the splits apart: wordings, speakers and shares of the open-class values.

Protocol rule 1. Every open-class word or number belongs to exactly one share, by a hash of its
own text, so membership never depends on what else is in a list. Speakers (accent and variant) are
dealt out to the splits; A-test and B-test use the same test speakers, whom no other split has.

The corpus has two editions. `FORMANT` is spoken by espeak-ng and has made-up names; `NEURAL` is spoken by
neural voices, has names that a recogniser can know, and a C-test with speakers and values of its own.
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
_DEAL = ("zoo",) * 4 + ("train",) * 4 + ("validation",) * 1 + ("test",) * 4  # of each accent's variants


Speaker = tuple[str, str]
"""Accent and variant of a voice."""


@dataclass(frozen=True)
class Edition:
    """One edition of the corpus: the names, speakers and rooms for values that its splits share out."""

    corpus: str  # its name, with which the ids of its utterances begin
    version: str  # raised with every change of this package's code that changes an utterance of it
    seed: str  # of the calls' random generators; another one draws all transcripts anew
    names: str  # the file of its name lists
    shares: tuple[str, ...]  # of the open-class values and company names, in tenths
    splits: tuple[str, ...]
    speakers: Callable[[str], tuple[Speaker, ...]]  # by group: a split, or "test" for A-test and B-test
    rate: tuple[int, int]  # bounds of what a call draws; the units are those of `schema.Voice`
    pitch: tuple[int, int]
    snr_db: tuple[float, float]

    def share_of(self, text: str) -> str:
        """The share a value belongs to; that of "train" is validation's as well."""
        digest = hashlib.sha256(text.encode()).digest()
        return self.shares[int.from_bytes(digest[:4], "big") % len(self.shares)]

    def split(self, name: str) -> Split:
        """The definition of a split; UserError if there is none of that name."""
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
    """Each accent deals its variants from another start, so that every group hears most variants."""
    return tuple(
        (accent, VARIANTS[(place + 6 * i) % len(VARIANTS)])
        for i, accent in enumerate(ACCENTS)
        for place, owner in enumerate(_DEAL)
        if owner == group
    )


@cache
def _neural_speakers(group: str) -> tuple[Speaker, ...]:
    """Mixtures of styles, each of one group alone; `joe` speaks in training only."""
    return _dealt_mixtures()[group] + (_JOES if group == "train" else ())


@cache
def _dealt_mixtures() -> dict[str, tuple[Speaker, ...]]:
    """Mixtures by group. Those of different groups differ by a fifth of their shares at least."""
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
    """Tenths of one to three styles, in the styles' order."""
    chosen = rng.sample(STYLES, rng.choice((1, 2, 2, 3, 3)))
    cuts = sorted(rng.sample(range(1, 10), len(chosen) - 1))
    tenths = [end - start for start, end in zip([0, *cuts], [*cuts, 10], strict=True)]
    return dict(sorted(zip(chosen, tenths, strict=True), key=lambda pair: STYLES.index(pair[0])))


def _distance(one: dict[str, int], other: dict[str, int]) -> int:
    """Tenths by which two mixtures differ, over all styles."""
    return sum(abs(one.get(style, 0) - other.get(style, 0)) for style in STYLES)


_MIXTURES = {"test": 32, "C-test": 24, "validation": 8, "train": 24}
# Four of five training turns are joe's: a mixture takes five times as long to speak.
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
    """One split of an edition: whose wordings, values and voices it uses."""

    name: str
    wordings: str  # "A" or "B"
    share: str  # of the open-class values and company names
    speakers: tuple[Speaker, ...]
    edition: Edition = FORMANT

    def voice(self, rng: random.Random) -> Voice:
        """A caller: a speaker of the split with rate, pitch and noise of this call. seed is 0."""
        accent, variant = rng.choice(self.speakers)
        edition = self.edition
        rate, pitch = rng.randint(*edition.rate), rng.randint(*edition.pitch)
        return Voice(accent, variant, rate, pitch, round(rng.uniform(*edition.snr_db), 1), 0)


def split_named(name: str) -> Split:
    """A split of the espeak-ng edition; UserError if there is none of that name."""
    return FORMANT.split(name)
