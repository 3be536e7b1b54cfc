"""Word, character and digit error rates, after Whisper's English normaliser."""

from __future__ import annotations

from typing import NamedTuple

import jiwer
import numpy as np
from numpy.typing import ArrayLike
from rapidfuzz.distance import Levenshtein

from speechllm_bench.text import normalise_english, spoken_tokens

VERSION = 1
DIGITS_VERSION = 1


class Errors(NamedTuple):
    """Substitutions, deletions and insertions together, and the reference's length."""

    errors: float
    reference: float


def word_counts(reference: str, hypothesis: str) -> Errors:
    """Word errors of one utterance. All words said to an empty reference are insertions."""
    out = jiwer.process_words(normalise_english(reference), normalise_english(hypothesis))
    return _errors(out)


def char_counts(reference: str, hypothesis: str) -> Errors:
    """Character errors of one utterance, spaces between words included."""
    out = jiwer.process_characters(normalise_english(reference), normalise_english(hypothesis))
    return _errors(out)


def digit_counts(reference: str, hypothesis: str) -> Errors:
    """Digit errors of one utterance: edit distance over the digits of both sides, everything else left out.

    The normaliser makes one word of a ten-digit number, so WER counts one error whether one digit is wrong or
    ten. Digits are those of `text.spoken_tokens`; the word "one" is a digit.
    """
    spoken, heard = (_digits(text) for text in (reference, hypothesis))
    return Errors(Levenshtein.distance(spoken, heard), len(spoken))


def rate(sums: ArrayLike) -> np.ndarray:
    """Errors / reference length of counts (..., 2); returns (...), which may exceed 1.

    Where all references are empty the errors are divided by 1, as jiwer does.
    """
    sums = np.asarray(sums, float)
    return sums[..., 0] / np.maximum(sums[..., 1], 1)


def error_rate(total: Errors) -> float:
    """The error rate of summed counts."""
    return float(rate(total))


def _digits(text: str) -> str:
    return "".join(token for token in spoken_tokens(text) if token.isdecimal())


def _errors(out: jiwer.WordOutput | jiwer.CharacterOutput) -> Errors:
    missed = out.substitutions + out.deletions
    return Errors(missed + out.insertions, missed + out.hits)
