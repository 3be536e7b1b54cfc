"""Decoding: what the model says to each example, in batches, every example kept."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from speechllm_bench.errors import UserError
from speechllm_bench.models.chat import answer_ends
from speechllm_bench.models.inputs import collate
from speechllm_bench.models.llm import merged_lora
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.storage.schema import Example, Prediction, Utterance


def decode(
    model: SpeechLLM,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    utterances: Sequence[Utterance],
    *,
    frames: Sequence[np.ndarray] | None = None,
    transcripts: Sequence[str] | None = None,
    batch_size: int,
    max_new_tokens: int,
    beams: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> list[Prediction]:
    """Predictions in the order of `examples`, each with its utterance beside it.

    The model hears `frames`, or reads `transcripts` where it is a text LLM. Batches hold examples of
    like length, longest first: little is padded, and memory runs out at once or never. Where a GPU's does,
    they are halved from there on, and it is told once.
    """
    heard: Sequence = frames if frames is not None else transcripts or ()

    def length(i: int) -> float:  # in tokens of the prompt and what is heard, of about four letters each
        tokens = model.speech_tokens
        speech = tokens(len(heard[i])) if tokens and frames is not None else len(heard[i]) / 4
        return speech + len(examples[i].prompt) / 4

    ends = answer_ends(tokenizer, model.llm)
    order = sorted(range(len(examples)), key=length, reverse=True)
    training = model.training
    model.eval()
    said: dict[int, Prediction] = {}
    start, size = 0, batch_size
    with merged_lora(model.llm):
        while start < len(order):
            rows = order[start : start + size]
            chosen = [heard[i] for i in rows]
            batch = collate(
                tokenizer,
                [examples[i] for i in rows],
                frames=chosen if frames is not None else None,
                transcripts=chosen if frames is None else None,
                speech_tokens=model.speech_tokens,
                with_answer=False,
            ).to(model.llm.device)
            try:
                tokens = model.generate(batch, max_new_tokens, ends, tokenizer.pad_token_id, beams)
            except torch.OutOfMemoryError:
                tokens = None  # outside of this block nothing holds on to what was computed
            if tokens is None:
                size = _halved(len(rows), told=size < batch_size)
                continue
            for i, ids in zip(rows, tokens.tolist(), strict=True):
                said[i] = _prediction(tokenizer, examples[i], utterances[i], ids, ends)
            start += len(rows)
            progress(start / len(order))
    model.train(training)
    return [said[i] for i in range(len(examples))]


def _halved(n: int, told: bool) -> int:
    """Half of a batch that a GPU's memory does not hold; UserError where that is one answer."""
    torch.cuda.empty_cache()
    if n == 1:
        raise UserError("the GPU's memory does not hold one answer at a time; take a GPU with more")
    if not told:
        print(f"The GPU's memory does not hold {n} answers at a time: they are halved.", file=sys.stderr)
    return -(-n // 2)


def _prediction(
    tokenizer, example: Example, utterance: Utterance, ids: list[int], ends: Sequence[int]
) -> Prediction:
    """The answer up to the first of the end tokens."""
    n = next((n for n, token in enumerate(ids) if token in ends), len(ids))
    spoken = ids[:n]
    return Prediction(
        example_id=example.id,
        utterance_id=utterance.id,
        speaker=utterance.speaker,
        task=example.task,
        raw=tokenizer.decode(spoken, skip_special_tokens=True),
        gold=example.target,
        asked=example.asked,
        n_tokens=n + (n < len(ids)),
        transcript=utterance.transcript,
        trace_tokens=_trace_tokens(tokenizer, spoken),
    )


def _trace_tokens(tokenizer, spoken: list[int]) -> int:
    """How many of the tokens it takes to the end of the thought: none without one, all if it never ends."""

    def ended(n: int) -> bool:
        return "</think>" in tokenizer.decode(spoken[:n])

    if ended(len(spoken)):
        return bisect_left(range(len(spoken)), True, key=ended)
    return len(spoken) if "<think>" in tokenizer.decode(spoken) else 0
