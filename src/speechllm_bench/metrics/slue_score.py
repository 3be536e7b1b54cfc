"""SLUE score: one number over recognition, entities and sentiment.

SLUE score = ((100 - mean WER) + NER F1 + sentiment macro F1) / 3, all in per cent. The formula is that of the
README in the repository of arXiv 2507.12951, where the two WERs are those of SLUE-VoxPopuli and
SLUE-VoxCeleb. Which WERs enter is the caller's to say beside the number: 2509.04473 recognises LibriSpeech,
and the embedded corpus has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Share = TypeVar("Share", float, np.ndarray)


def mean_of_tasks(wers: Sequence[Share], ner_f1: Share, sentiment_f1: Share) -> Share:
    """The score in per cent; the arguments are shares, 1 being 100 %, each a number or an array of draws.

    `ner_f1` is micro, `sentiment_f1` macro.
    """
    return 100 * ((1 - sum(wers) / len(wers)) + ner_f1 + sentiment_f1) / 3
