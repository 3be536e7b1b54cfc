"""Batched greedy and beam decoding. Every example gets a prediction; none is dropped."""

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
    """Return predictions in the order of `examples`. `utterances` has the utterance of each example.

    The model gets `frames` (T, D), or `transcripts` if it is a text LLM. Batches hold examples of similar
    length, longest first: padding is low, and memory runs out early or never. Where GPU memory runs out, the
    batches from there on are halved, with one message. Raises UserError where one answer does not fit.
    progress: called with the share of examples that are done.
    """
    heard: Sequence = frames if frames is not None else transcripts or ()

    def length(i: int) -> float:  # tokens of prompt and input, at about four letters per text token
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
                tokens = None  # leave the block first: the exception keeps the tensors alive
            if tokens is None:
                size = _halved(len(rows), told=size < batch_size)
                continue
            for i, ids in zip(rows, tokens.tolist(), strict=True):
                said[i] = prediction(tokenizer, examples[i], utterances[i], ids, ends)
            start += len(rows)
            progress(start / len(order))
    model.train(training)
    return [said[i] for i in range(len(examples))]


def _halved(n: int, told: bool) -> int:
    """Return half of the batch size `n`, rounded up, and print a message unless `told` (printed before).

    Raises UserError for a batch of one answer.
    """
    torch.cuda.empty_cache()
    if n == 1:
        raise UserError("the GPU's memory does not hold one answer at a time; take a larger GPU")
    if not told:
        print(f"The GPU's memory does not hold {n} answers at a time: batches are halved.", file=sys.stderr)
    return -(-n // 2)


def prediction(
    tokenizer, example: Example, utterance: Utterance, ids: list[int], ends: Sequence[int]
) -> Prediction:
    """Return the prediction from the token ids up to the first end token."""
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
    """Return the number of tokens up to `</think>`: 0 without a thought, all tokens if it never ends."""

    def ended(n: int) -> bool:
        return "</think>" in tokenizer.decode(spoken[:n])

    if ended(len(spoken)):
        return bisect_left(range(len(spoken)), True, key=ended)
    return len(spoken) if "<think>" in tokenizer.decode(spoken) else 0
