"""SLUE score: one number for speech recognition, named entities and sentiment.

SLUE score = ((100 - mean WER) + NER F1 + sentiment macro F1) / 3, all in per cent. The formula is from the
README in the repository of arXiv 2507.12951, which averages the WERs of SLUE-VoxPopuli and SLUE-VoxCeleb.
A caller has to state which WERs it uses: 2509.04473 recognises LibriSpeech, and the embedded corpus has only
one WER.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Share = TypeVar("Share", float, np.ndarray)


def mean_of_tasks(wers: Sequence[Share], ner_f1: Share, sentiment_f1: Share) -> Share:
    """Return the score in per cent. The arguments are shares (1 is 100 %), numbers or arrays of draws.

    `ner_f1` is micro F1, `sentiment_f1` is macro F1.
    """
    return 100 * ((1 - sum(wers) / len(wers)) + ner_f1 + sentiment_f1) / 3
