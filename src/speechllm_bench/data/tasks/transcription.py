"""AST as 2510.15851 means it: write down what was said (elsewhere the letters mean translation)."""

from __future__ import annotations

import random
from collections.abc import Mapping

from speechllm_bench.config import PromptStyle
from speechllm_bench.data.tasks.prompt import DIALOGUE, Wordings, user_message
from speechllm_bench.schema import Example, SlotType, Utterance

VERSION = 1
INSTRUCTION: Wordings = {None: "write it down", "english": f"Write down the caller's words.\n{DIALOGUE}"}


def example(
    utterance: Utterance,
    slot_types: Mapping[str, SlotType],
    rng: random.Random,
    ood: bool = False,
    training: bool = False,
    *,
    style: PromptStyle | None = None,
) -> Example:
    """Ask for the transcript, without dialogue context."""
    return Example(
        id=f"{utterance.id}/transcription",
        utterance_id=utterance.id,
        task="transcription",
        prompt=user_message([], INSTRUCTION[style]),
        target=utterance.transcript,
    )


def parse(raw: str) -> str:
    return raw.strip()
