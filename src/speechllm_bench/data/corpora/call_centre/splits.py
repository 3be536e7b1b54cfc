"""What keeps the splits apart: wordings, speakers and shares of the open-class values.

Protocol rule 1. Every open-class word or number belongs to exactly one share, by a hash of its
own text, so membership never depends on what else is in a list. Speakers (accent and variant) are
dealt out per accent; A-test and B-test use the same test speakers, whom no other split has.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from speechllm_bench.errors import UserError
from speechllm_bench.schema import SPLITS, Voice

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
_SHARES = ("zoo",) * 4 + ("train",) * 4 + ("A-test", "B-test")  # tenths of every open class


@dataclass(frozen=True)
class Split:
    """One split of the corpus: whose wordings, values and voices it uses."""

    name: str
    wordings: str  # "A" or "B"
    share: str  # of the open-class values and company names
    speakers: tuple[tuple[str, str], ...]  # (accent, variant)

    def voice(self, rng: random.Random) -> Voice:
        """A caller: a speaker of the split with rate, pitch and noise of this call. seed is 0."""
        accent, variant = rng.choice(self.speakers)
        return Voice(
            accent, variant, rng.randint(110, 165), rng.randint(30, 70), round(rng.uniform(15, 30), 1), 0
        )


def share_of(text: str) -> str:
    """The share a value belongs to: "zoo", "train" (also validation's), "A-test" or "B-test"."""
    digest = hashlib.sha256(text.encode()).digest()
    return _SHARES[int.from_bytes(digest[:4], "big") % len(_SHARES)]


def split_named(name: str) -> Split:
    """The definition of a split; UserError if there is none of that name."""
    if name not in SPLITS:
        raise UserError(f'the call-centre corpus has no split "{name}": choose one of {", ".join(SPLITS)}')
    return Split(
        name=name,
        wordings="B" if name == "B-test" else "A",
        share="train" if name == "validation" else name,
        speakers=_speakers("test" if name.endswith("-test") else name),
    )


def _speakers(group: str) -> tuple[tuple[str, str], ...]:
    """Each accent deals its variants from another start, so that every group hears most variants."""
    return tuple(
        (accent, VARIANTS[(place + 6 * i) % len(VARIANTS)])
        for i, accent in enumerate(ACCENTS)
        for place, owner in enumerate(_DEAL)
        if owner == group
    )
