"""Adds disfluencies of spontaneous speech: hesitations, restarts, self-corrections.

Before it is joined, a caller turn is a list of pieces, which are words and filled slots. Disfluencies are
inserted between pieces, so a value stays one verbatim span. After a self-correction the gold value is the
corrected one. The wrong one stays in the transcript as a distractor.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from speechllm_bench.data.corpora.call_centre.values import Value
from speechllm_bench.data.corpora.call_centre.words import entries

HESITATE, RESTART, CORRECT = 0.13, 0.06, 0.08  # probabilities per turn
_EDITS = entries("no sorry, sorry, no wait, i mean, no i mean, or rather, actually no")
_LEADS = entries("to, from, in, on, at, for, by, with, until, of, the, my, a")  # may be said again
_SOUNDS = entries("um, uh, er, erm, hmm")
_NO_CORRECTION = 7  # values of this many words or more (phone numbers) are not corrected


@dataclass(frozen=True)
class Filled:
    """A slot with its value."""

    slot: str
    value: Value


Piece = str | Filled


def hesitate(pieces: list[Piece], rng: random.Random, hesitations: Sequence[str]) -> list[Piece]:
    """Return the pieces with one hesitation at the start, before a value or somewhere else."""
    style = rng.random()
    values = [i for i, piece in enumerate(pieces) if isinstance(piece, Filled)]
    if not values or style < 0.45:
        at = 0
    else:
        at = rng.choice(values) if style < 0.85 else rng.randrange(len(pieces))
    # Words ("well", "let me see") are natural at the start, sounds ("um") anywhere.
    usable = [h for h in hesitations if h in _SOUNDS] if at else hesitations
    return [*pieces[:at], *rng.choice(usable or ["um"]).split(), *pieces[at:]]


def restart(pieces: list[Piece], rng: random.Random) -> list[Piece]:
    """Return the pieces with the first one or two words repeated: "can can you", "i want i want to"."""
    start = next((i for i, piece in enumerate(pieces) if isinstance(piece, Filled)), len(pieces))
    n = min(start, rng.choice((1, 1, 2)))
    return [*pieces[:n], *pieces]


def correct(pieces: list[Piece], rng: random.Random, at: int, wrong: Value) -> list[Piece]:
    """Return the pieces with `wrong` before the value at `at`: "to {wrong} no sorry {right}".

    The word before the value may be repeated: "to {wrong} no sorry to {right}".
    """
    edit = rng.choice(_EDITS).split()
    lead = pieces[at - 1 : at] if at and pieces[at - 1] in _LEADS and rng.random() < 0.5 else []
    return [*pieces[:at], *wrong.spoken.split(), *edit, *lead, *pieces[at:]]


def correctable(pieces: list[Piece]) -> list[int]:
    """Return the indices of values that are short enough for a correction and have no spelling after them."""
    return [
        i
        for i, piece in enumerate(pieces)
        if isinstance(piece, Filled)
        and not piece.value.tail
        and len(piece.value.spoken.split()) < _NO_CORRECTION
    ]
