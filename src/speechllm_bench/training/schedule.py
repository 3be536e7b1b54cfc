"""The order of examples and the learning rate. They depend on seed and step only, so a run can resume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from speechllm_bench.data.corpora import spoken_instructions
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.tasks import TASKS

BUCKET = 32  # batches that are sorted by length together: little padding, still well mixed
CHARACTERS_A_TOKEN = 4  # per text token
SPOKEN_CHARACTERS_A_TOKEN = 2.1  # per speech token: 13 characters and 6.25 speech tokens per second

Item = TypeVar("Item")
Pair = tuple[int, int]
"""An item and the epoch in which it is seen. An example is drawn from it."""


def order(n_items: int, examples: int, rng: np.random.Generator) -> list[Pair]:
    """Return `examples` pairs: all items in a new random order each epoch; the last epoch is cut short."""
    pairs: list[Pair] = []
    for epoch in range(-(-examples // n_items)):
        pairs += [(int(item), epoch) for item in rng.permutation(n_items)]
    return pairs[:examples]


def shares(tasks: Mapping[str, float], examples: int) -> dict[str, int]:
    """Return the number of examples of each task, given the tasks' shares."""
    ends = [round(end * examples) for end in np.cumsum(list(tasks.values()))]
    return dict(zip(tasks, map(int, np.diff([0, *ends])), strict=True))


def interleave(sequences: Sequence[Sequence], rng: np.random.Generator) -> list:
    """Return all entries in one list, randomly mixed; each sequence keeps its own order."""
    whose = rng.permutation(np.repeat(np.arange(len(sequences)), [len(s) for s in sequences]))
    following = [iter(sequence) for sequence in sequences]
    return [next(following[i]) for i in whose]


def batches(
    items: Sequence[Item], lengths: Sequence[float], batch_size: int, rng: np.random.Generator
) -> list[list[Item]]:
    """Return the items in batches of similar length, which keeps padding low.

    lengths: a reference length per item, which does not depend on the adapter. So every variant sees the same
    examples in the same order.
    """
    formed = []
    for start in range(0, len(items), BUCKET * batch_size):
        pool = range(start, min(start + BUCKET * batch_size, len(items)))
        by_length = [items[i] for i in sorted(pool, key=lengths.__getitem__)]
        groups = [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
        formed += [groups[i] for i in rng.permutation(len(groups))]
    return formed


def learning_rate(step: int, n_steps: int, peak: float, warmup: float) -> float:
    """Return the learning rate: linear warm-up over the share `warmup` of steps, then cosine decay to 0."""
    n_warmup = round(warmup * n_steps)
    if step < n_warmup:
        return peak * (step + 1) / n_warmup
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def reference_length(example: Example, utterance: Utterance) -> float:
    """Estimate the positions of an example, independent of adapter, tokenizer and input (speech or text).

    Traces are left out, so that every form of slot filling is trained in the same batches.
    """
    plain = TASKS[example.task].plain
    example = plain(example) if plain else example
    text = (len(example.prompt) + len(example.target)) / CHARACTERS_A_TOKEN
    spoken = len(utterance.transcript) + len(spoken_instructions.instruction_words(example.instruction))
    return text + spoken / SPOKEN_CHARACTERS_A_TOKEN
