"""Parts that every task's prompt shares: the system turn, the dialogue so far, and the place of the speech.

A task's instruction stands in its own module, as `INSTRUCTION`: one wording for each style of prompts
(`RunConfig.prompt`). In English what is the same in every question comes first, so that a batch computes it
once (`SpeechLLM.answer_logits`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from speechllm_bench.storage.schema import Turn

PromptStyle = Literal["english"]
"""Wording of the prompts besides the terse one (None), which the embedded LLMs were trained on.

`english` is for LLMs that follow instructions: a short system turn and a plain sentence. The wordings stand
in each task's module. A run's digest holds the style's name alone, so a changed wording needs another name.
"""

Wordings = Mapping[PromptStyle | None, str]
"""A text by the style of the prompt."""

AUDIO = "<|audio|>"
"""Marks where in the prompt the speech goes (or, for a text LLM, a space and the transcript)."""

DIALOGUE = "<|dialogue|>"
"""Marks where in an instruction the dialogue goes; in one without it, before the instruction."""

SYSTEM: Wordings = {None: "", "english": "You extract information from a phone call."}
"""The system turn, one for all tasks; "" is none."""

MAX_CONTEXT_TURNS = 3  # 2510.15851: 0 to 3 turns of dialogue context


def contains(text: str, words: str) -> bool:
    """Whether `words` stand in `text` as whole words."""
    # Plain search first: it nearly always settles the matter, at a hundredth of the time.
    return words in text and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def draw_context(
    turns: Sequence[Turn], values: Iterable[str], rng: random.Random, n: int | None = None
) -> list[Turn]:
    """The last n turns before this one, 0 to 3 where n is None; fewer where one gives a wanted value away."""
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
    """The message with the dialogue, whose last turn is the speech, at its place in the instruction."""
    dialogue = "\n".join([*(f"{turn.role}: {turn.text}" for turn in context), f"caller:{AUDIO}"])
    return (instruction if DIALOGUE in instruction else f"{DIALOGUE}\n{instruction}").replace(
        DIALOGUE, dialogue
    )
