"""Sentiment of a turn (2509.04473; SLUE, arXiv 2111.10367): negative, neutral or positive, one word out.

Synthetic voices do not sound angry or pleased, so on the embedded corpus this is a task of words alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from speechllm_bench.config import PromptStyle
from speechllm_bench.data.tasks.prompt import DIALOGUE, Wordings, user_message
from speechllm_bench.schema import SENTIMENTS, Example, SlotType, Utterance

VERSION = 1
_CHOICE = f"{', '.join(SENTIMENTS[:-1])} or {SENTIMENTS[-1]}"
INSTRUCTION: Wordings = {
    None: f"sentiment: {_CHOICE}",
    "english": f"Answer with the caller's sentiment: {_CHOICE}.\n{DIALOGUE}",
}


def example(
    utterance: Utterance,
    slot_types: Mapping[str, SlotType],
    rng: random.Random,
    ood: bool = False,
    training: bool = False,
    *,
    style: PromptStyle | None = None,
) -> Example:
    """Ask for the caller's sentiment, without dialogue context."""
    return Example(
        id=f"{utterance.id}/sentiment",
        utterance_id=utterance.id,
        task="sentiment",
        prompt=user_message([], INSTRUCTION[style]),
        target=utterance.sentiment,
    )


def parse(raw: str) -> str | None:
    """The one sentiment that an answer names, in whatever sentence; None where it names none or several."""
    named = set(re.findall(r"\w+", raw.lower())) & set(SENTIMENTS)
    return named.pop() if len(named) == 1 else None
