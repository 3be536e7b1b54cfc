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
    """The sum of substitutions, deletions and insertions, and the length of the reference."""

    errors: float
    reference: float


def word_counts(reference: str, hypothesis: str) -> Errors:
    """Return the word errors of one utterance. For an empty reference, all words are insertions."""
    out = jiwer.process_words(normalise_english(reference), normalise_english(hypothesis))
    return _errors(out)


def char_counts(reference: str, hypothesis: str) -> Errors:
    """Return the character errors of one utterance, including spaces between words."""
    out = jiwer.process_characters(normalise_english(reference), normalise_english(hypothesis))
    return _errors(out)


def digit_counts(reference: str, hypothesis: str) -> Errors:
    """Return the digit errors of one utterance: the edit distance of its digits, without all other text.

    The normaliser turns a ten-digit number into one word, so WER counts one error for one wrong digit or for
    ten. Digits are those of `text.spoken_tokens`; the word "one" is a digit.
    """
    spoken, heard = (_digits(text) for text in (reference, hypothesis))
    return Errors(Levenshtein.distance(spoken, heard), len(spoken))


def rate(sums: ArrayLike) -> np.ndarray:
    """Return errors / reference length of counts (..., 2). Shape: (...); values may exceed 1.

    If all references are empty, the errors are divided by 1, as in jiwer.
    """
    sums = np.asarray(sums, float)
    return sums[..., 0] / np.maximum(sums[..., 1], 1)


def _digits(text: str) -> str:
    return "".join(token for token in spoken_tokens(text) if token.isdecimal())


def _errors(out: jiwer.WordOutput | jiwer.CharacterOutput) -> Errors:
    missed = out.substitutions + out.deletions
    return Errors(missed + out.insertions, missed + out.hits)
