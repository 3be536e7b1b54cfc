"""Parts that all tasks' prompts share: the system turn, the dialogue so far, and the place of the speech.

A task's module has its instruction as `INSTRUCTION`, with one wording for each style of prompt
(`RunConfig.prompt`). In the English style, the text that all questions share comes first, so a batch computes
it once (`SpeechLLM.answer_logits`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from speechllm_bench.storage.schema import Turn

PromptStyle = Literal["english"]
"""Style of the prompts. None is the terse style, which the embedded LLMs were trained on.

`english` is for LLMs that follow instructions: a short system turn and a plain sentence. Each task's module
has the wordings. A run's digest contains only the style's name, so a changed wording needs a new name.
"""

Wordings = Mapping[PromptStyle | None, str]
"""A text for each style of prompt."""

AUDIO = "<|audio|>"
"""Placeholder in the prompt for the speech (or, for a text LLM, for a space and the transcript)."""

DIALOGUE = "<|dialogue|>"
"""Placeholder in an instruction for the dialogue. Without it, the dialogue precedes the instruction."""

SYSTEM: Wordings = {None: "", "english": "You extract information from a phone call."}
"""System turn of all tasks; "" is no system turn."""

MAX_CONTEXT_TURNS = 3  # 2510.15851: 0 to 3 turns of dialogue context


def contains(text: str, words: str) -> bool:
    """Whether `text` contains `words` as whole words."""
    # The plain search comes first: it nearly always decides, in a hundredth of the time.
    return words in text and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def draw_context(
    turns: Sequence[Turn], values: Iterable[str], rng: random.Random, n: int | None = None
) -> list[Turn]:
    """Return the last n of the earlier turns, or a drawn 0 to 3 if n is None, in order.

    Turns up to and including the latest one that contains a wanted value are left out.
    """
    drawn = rng.randint(0, MAX_CONTEXT_TURNS)
    n = drawn if n is None else n
    values = list(values)
    kept: list[Turn] = []
    for turn in reversed(turns[-n:] if n else []):
        if any(contains(turn.text, value) for value in values):
            break
        kept.insert(0, turn)
    return kept


def user_message(context: Iterable[Turn], instruction: str) -> str:
    """Return the instruction with the dialogue inserted; the last turn of the dialogue is the speech."""
    dialogue = "\n".join([*(f"{turn.role}: {turn.text}" for turn in context), f"caller:{AUDIO}"])
    return (instruction if DIALOGUE in instruction else f"{DIALOGUE}\n{instruction}").replace(
        DIALOGUE, dialogue
    )
