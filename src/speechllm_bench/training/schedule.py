"""The order of examples and the learning rate: pure functions of a seed and a step, so a run can resume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from speechllm_bench.data.corpora import spoken_instructions
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.tasks import TASKS

BUCKET = 32  # batches sorted together by length: little padding, still well mixed
CHARACTERS_A_TOKEN = 4  # of text
SPOKEN_CHARACTERS_A_TOKEN = 2.1  # of speech: 13 characters and 6.25 speech tokens a second

Item = TypeVar("Item")
Pair = tuple[int, int]
"""An item and the epoch in which it is seen: what an example is drawn from."""


def order(n_items: int, examples: int, rng: np.random.Generator) -> list[Pair]:
    """`examples` pairs: all items in an order of their own each epoch, the last epoch cut short."""
    pairs: list[Pair] = []
    for epoch in range(-(-examples // n_items)):
        pairs += [(int(item), epoch) for item in rng.permutation(n_items)]
    return pairs[:examples]


def shares(tasks: Mapping[str, float], examples: int) -> dict[str, int]:
    """How many of the examples are each task's."""
    ends = [round(end * examples) for end in np.cumsum(list(tasks.values()))]
    return dict(zip(tasks, map(int, np.diff([0, *ends])), strict=True))


def interleave(sequences: Sequence[Sequence], rng: np.random.Generator) -> list:
    """All entries in one list, mixed evenly; each sequence keeps its own order."""
    whose = rng.permutation(np.repeat(np.arange(len(sequences)), [len(s) for s in sequences]))
    following = [iter(sequence) for sequence in sequences]
    return [next(following[i]) for i in whose]


def batches(
    items: Sequence[Item], lengths: Sequence[float], batch_size: int, rng: np.random.Generator
) -> list[list[Item]]:
    """The items in batches of like length, so that little is padded.

    `lengths`, one an item, are a reference measure and never an adapter's own: every variant sees the
    same examples in the same order.
    """
    formed = []
    for start in range(0, len(items), BUCKET * batch_size):
        pool = range(start, min(start + BUCKET * batch_size, len(items)))
        by_length = [items[i] for i in sorted(pool, key=lengths.__getitem__)]
        groups = [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
        formed += [groups[i] for i in rng.permutation(len(groups))]
    return formed


def learning_rate(step: int, n_steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up over the first `warmup` share of the steps, then half a cosine down to zero."""
    n_warmup = round(warmup * n_steps)
    if step < n_warmup:
        return peak * (step + 1) / n_warmup
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def reference_length(example: Example, utterance: Utterance) -> float:
    """About how many positions an example takes, whatever the adapter, the tokenizer, speech or text.

    A trace is left out, so that every form of slot filling is taught in the same batches.
    """
    plain = TASKS[example.task].plain
    example = plain(example) if plain else example
    text = (len(example.prompt) + len(example.target)) / CHARACTERS_A_TOKEN
    spoken = len(utterance.transcript) + len(spoken_instructions.instruction_words(example.instruction))
    return text + spoken / SPOKEN_CHARACTERS_A_TOKEN
