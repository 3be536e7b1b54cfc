"""Word and character error rates, after Whisper's English normaliser."""

from __future__ import annotations

from typing import NamedTuple

import jiwer
import numpy as np

from speechllm_bench.text import normalise_english

VERSION = 1


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


def rate(sums: np.ndarray) -> np.ndarray:
    """Errors / reference length of counts (..., 2); returns (...), which may exceed 1.

    Where all references are empty the errors are divided by 1, as jiwer does.
    """
    sums = np.asarray(sums, float)
    return sums[..., 0] / np.maximum(sums[..., 1], 1)


def score(total: Errors) -> float:
    """The error rate of summed counts."""
    return float(rate(total))


def _errors(out: jiwer.WordOutput | jiwer.CharacterOutput) -> Errors:
    missed = out.substitutions + out.deletions
    return Errors(missed + out.insertions, missed + out.hits)
