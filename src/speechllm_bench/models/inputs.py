"""Conversion of examples to tensors: the chat prompt with positions for the speech, then the answer.

Axes: B examples, N positions (text tokens, speech tokens and padding), T encoder frames, D their width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from speechllm_bench.errors import UserError
from speechllm_bench.models.chat import chat_prompt, text_begin, turn_end
from speechllm_bench.storage.schema import Example
from speechllm_bench.tasks.prompt import AUDIO

SPEECH_BEGINS, SPEECH_ENDS = "<|audio_bos|>", "<|audio_eos|>"  # tokens of Qwen2-Audio


@dataclass
class Batch:
    """The input of a SpeechLLM. Speech positions hold the padding token until the model fills them."""

    tokens: Tensor  # (B, N) int64
    attended: Tensor  # (B, N) bool: not padding
    speech: Tensor  # (B, N) bool: position of a speech token, or (text LLM) of a transcript token
    answer: Tensor  # (B, N) bool: part of the target, including the end token
    frames: Tensor | None  # (B, T, D) float32, zero beyond n_frames; None for a text LLM
    n_frames: Tensor | None  # (B,) int64

    def to(self, device: torch.device) -> Batch:
        """Copy to a device. The copy of a pinned batch does not wait for the device."""
        return self._each(lambda kept: kept.to(device, non_blocking=kept.is_pinned()))

    def pin_memory(self) -> Batch:
        """Copy to page-locked memory, from which a GPU can copy by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(**{k: change(v) if v is not None else None for k, v in vars(self).items()})


@cache
def speech_marks(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """Return the texts before and after speech: special tokens for an audio LLM, else empty strings."""
    known = tokenizer.get_added_vocab()
    return (SPEECH_BEGINS, SPEECH_ENDS) if {SPEECH_BEGINS, SPEECH_ENDS} <= known.keys() else ("", "")


@cache
def marks(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return the texts that a dialogue must not hold: the mark `AUDIO` and the tokenizer's special tokens."""
    return (AUDIO, *tokenizer.all_special_tokens)


def refuse_marks(tokenizer: PreTrainedTokenizerBase, text: str, where: str) -> None:
    """Raise UserError where `text` holds one of the `marks`, which the LLM would not read as text."""
    if found := [mark for mark in marks(tokenizer) if mark in text]:
        raise UserError(
            f"{where} holds '{found[0]}', which this LLM reads as a mark and not as text; take it out of the "
            "corpus and prepare it again"
        )


@dataclass(frozen=True)
class PromptTokens:
    """Lengths of prompts in tokens of the LLM, without the speech or the transcript."""

    mean: float
    max: int


def prompt_tokens(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], spoken: bool
) -> PromptTokens:
    """Return the prompt lengths of `examples` (at least one). `spoken` as in `prompt_halves`."""
    lengths = [sum(map(len, prompt_halves(tokenizer, example, spoken))) for example in examples]
    return PromptTokens(round(sum(lengths) / len(lengths), 1), max(lengths))


def prompt_halves(
    tokenizer: PreTrainedTokenizerBase, example: Example, spoken: bool = True
) -> tuple[list[int], list[int]]:
    """Return the token ids before and after the speech (or, if not `spoken`, the transcript).

    They follow the LLM's chat format, or are plain lines for a base LLM without one. The tokenizer's BOS
    token comes first once, whether the chat format writes it or not. Raises UserError as `chat_prompt` does,
    and where the prompt holds one of the `marks`.
    """
    refuse_marks(tokenizer, example.prompt.replace(AUDIO, "", 1), f"the prompt of {example.id}")
    before, after = chat_prompt(tokenizer, example).split(AUDIO)
    begin, end = speech_marks(tokenizer) if spoken else ("", "")
    first, second = (
        tokenizer(half, add_special_tokens=False)["input_ids"] for half in (before + begin, end + after)
    )
    opening = text_begin(tokenizer)
    return (first if first[: len(opening)] == opening else opening + first), second


def collate(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    *,
    frames: Sequence[np.ndarray] | None = None,
    transcripts: Sequence[str | list[int]] | None = None,
    speech_tokens: Callable[[int], int] | None = None,
    with_answer: bool,
) -> Batch:
    """Return the batch of examples.

    frames: encoder frames (T, D), one array per example, for a model that hears.
    transcripts: texts or token ids, one per example, for a text LLM.
    speech_tokens: returns the number of positions for a number of frames (`SpeechLLM.speech_tokens`).
    with_answer: True for training: rows are padded on the right. False for generation: padding comes after
    the common prefix of all rows, so that all rows end together and the prefix is computed once.
    Raises UserError as `prompt_halves` does, and where a transcript holds one of the `marks`.
    """
    rows = []  # (ids, first speech position, number of speech positions, number of answer positions)
    for i, example in enumerate(examples):
        before, after = prompt_halves(tokenizer, example, spoken=frames is not None)
        if frames is not None:
            assert speech_tokens
            middle = [tokenizer.pad_token_id] * speech_tokens(len(frames[i]))
        else:
            assert transcripts is not None
            read = transcripts[i]
            if isinstance(read, str):
                refuse_marks(tokenizer, read, f"the transcript of {example.utterance_id}")
                read = tokenizer(" " + read, add_special_tokens=False)["input_ids"]
            middle = read
        answer = []
        if with_answer:
            answer = tokenizer(example.target, add_special_tokens=False)["input_ids"]
            answer = [*answer, turn_end(tokenizer)]
        rows.append(([*before, *middle, *after, *answer], len(before), len(middle), len(answer)))

    shape = (len(rows), max(len(ids) for ids, *_ in rows))
    tokens = torch.full(shape, tokenizer.pad_token_id)
    attended, speech, answered = (torch.zeros(shape, dtype=torch.bool) for _ in range(3))
    shared = 0 if with_answer else _shared([ids[:first] for ids, first, *_ in rows])
    for row, (ids, first, n_speech, n_answer) in enumerate(rows):
        gap = 0 if with_answer else shape[1] - len(ids)  # padding after the common prefix
        end = gap + len(ids)
        for start, stop, part in ((0, shared, ids[:shared]), (gap + shared, end, ids[shared:])):
            tokens[row, start:stop] = torch.tensor(part, dtype=torch.int64)
            attended[row, start:stop] = True
        speech[row, gap + first : gap + first + n_speech] = True
        answered[row, end - n_answer : end] = True
    if frames is None:
        return Batch(tokens, attended, speech, answered, None, None)
    return Batch(tokens, attended, speech, answered, *pad_frames(frames))


def _shared(prompts: Sequence[Sequence[int]]) -> int:
    alike = (len(set(tokens)) == 1 for tokens in zip(*prompts))  # position by position
    return sum(takewhile(bool, alike))


def n_targets(tokenizer: PreTrainedTokenizerBase, example: Example) -> int:
    """Return the number of target tokens of an example, including the end token."""
    return len(tokenizer(example.target, add_special_tokens=False)["input_ids"]) + 1


def pad_frames(frames: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pad fp16 arrays (T_i, D) to float32 (B, T, D) with zeros; also return the lengths (B,)."""
    lengths = torch.tensor([len(f) for f in frames])
    padded = torch.zeros(len(frames), int(lengths.max()), frames[0].shape[1])
    for row, f in zip(padded, frames, strict=True):
        row[: len(f)] = torch.from_numpy(f.astype(np.float32))
    return padded, lengths
