"""Speech recognition with Whisper's own decoder: audio in, English text out.

Axes: B utterances, M mel frames (100 Hz), T encoder frames (50 Hz), D encoder width.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    GenerationMixin,
    PreTrainedTokenizerBase,
    WhisperForConditionalGeneration,
)
from transformers.modeling_outputs import BaseModelOutput

from speechllm_bench.data.audio import SAMPLE_RATE
from speechllm_bench.models.encoder import encoder_states, log_mel, same_length_batches
from speechllm_bench.models.llm import load_tokenizer
from speechllm_bench.models.pretrained import TOKEN_IDS, load_pretrained

ENGLISH, TRANSCRIBE, NO_TIMESTAMPS = "<|en|>", "<|transcribe|>", "<|notimestamps|>"
MULTILINGUAL = 51_865  # size of the smallest multilingual vocabulary (openai-whisper's own rule)
MAX_NEW_TOKENS = 96  # of the embedded Whisper; OpenAI's models may fill half of the decoder's positions

BATCH_SECONDS = {"cpu": 120.0, "cuda": 960.0}  # padded audio in a batch, about

REPEATS = 2.4
"""Ratio of zlib's compression above which a transcript repeats itself: openai-whisper's own threshold."""

LEAST = 10 * SAMPLE_RATE
"""Least number of samples for OpenAI's Whisper models. Shorter audio is padded with silence.

These models were trained on 30 s. After short audio without silence their decoders repeat themselves:
whisper-base did so in 27 of 60 spoken digits, and in 9 of 40 turns of 0.6 to 5.6 s (WER 2.69; 0.25 when
padded to 10 s, 0.23 at 30 s).
"""


def load_asr(name: str) -> tuple[WhisperForConditionalGeneration, PreTrainedTokenizerBase]:
    """Return the whole Whisper in eval mode and fp32, set to greedy English decoding, and its tokenizer."""
    model, tokenizer = load_pretrained(WhisperForConditionalGeneration, name), load_tokenizer(name)
    model.generation_config = _settings(model, tokenizer)
    return model.eval(), tokenizer


def decoder_prompt(model: WhisperForConditionalGeneration) -> list[int]:
    """Return the decoder prompt for an English transcript without timestamps, as token ids of the model.

    The prompt of a multilingual Whisper has language and task; that of an English-only one has neither. The
    embedded Whisper was trained with the start token only.
    """
    settings = model.generation_config
    prompt = [settings.decoder_start_token_id]
    if _many_languages(settings):
        prompt += [settings.lang_to_id[ENGLISH], settings.task_to_id["transcribe"]]
    return prompt + ([settings.no_timestamps_token_id] if _of_openai(settings) else [])


@torch.inference_mode()
def transcribe(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    audio: Sequence[np.ndarray],
    padding: str,
    max_new_tokens: int | None = None,
    *,
    fallback: str | None = None,
) -> list[str]:
    """Return greedy transcripts of 16 kHz audio, in the order of `audio`.

    OpenAI's models at 30 s use Whisper's own `generate`, which requires 30 s. All others use the general
    `generate`, with the same prompt and suppressed tokens. OpenAI's models get silence up to `LEAST` samples.
    max_new_tokens: None is the model's usual limit (see `MAX_NEW_TOKENS`).
    fallback: padding with which audio is heard again if its transcript repeats itself. Whisper raises the
    temperature there; more silence keeps the decoding greedy. None: the transcript is kept.
    """
    said: dict[int, str] = {}
    settings = model.generation_config
    own = _of_openai(settings)
    limit = max_new_tokens or (model.config.max_target_positions // 2 if own else MAX_NEW_TOKENS)
    if own:
        audio = [np.pad(a, (0, max(0, LEAST - len(a)))) for a in audio]
    place, n_mels = model.device, model.config.num_mel_bins
    for batch in same_length_batches([len(a) for a in audio], padding, BATCH_SECONDS[place.type]):
        mel = torch.stack([log_mel(audio[i], padding, n_mels, place) for i in batch])  # (B, n_mels, M)
        if own and padding == "30s":
            told = {"language": ENGLISH, "task": "transcribe"} if _many_languages(settings) else {}
            heard = mel.new_ones(mel.shape[0], mel.shape[2], dtype=torch.long)
            tokens = model.generate(
                mel, attention_mask=heard, return_timestamps=False, max_new_tokens=limit, **told
            )
        else:
            tokens = _generate(model, mel, limit)
        for i, text in zip(batch, tokenizer.batch_decode(tokens, skip_special_tokens=True), strict=True):
            said[i] = text.strip()
    if fallback and (again := [i for i, text in said.items() if repeats(text)]):
        texts = transcribe(model, tokenizer, [audio[i] for i in again], fallback, max_new_tokens)
        said |= zip(again, texts, strict=True)
    return [said[i] for i in range(len(audio))]


def repeats(text: str) -> bool:
    """Return whether a transcript says the same again and again, by Whisper's own rule."""
    whole = text.encode()
    return len(whole) > REPEATS * len(zlib.compress(whole))


def _generate(model: WhisperForConditionalGeneration, mel: Tensor, max_new_tokens: int) -> Tensor:
    """Decode (B, n_mels, M), any M up to 3000, to token ids (B, tokens) that begin with the prompt."""
    states = encoder_states(model.get_encoder(), mel)  # (B, T, D)
    prompt = torch.tensor(decoder_prompt(model), device=model.device)
    return GenerationMixin.generate(
        model,
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        attention_mask=states.new_ones(states.shape[:2], dtype=torch.long),
        decoder_input_ids=prompt.expand(len(mel), -1),
        max_new_tokens=max_new_tokens,
        do_sample=False,
    )


def _settings(model: WhisperForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """Return generation settings with the folder's ids and suppressed tokens only.

    Penalties and the like are dropped. The ids of language and task come from the tokenizer, because older
    conversions have no table of them.
    """
    of_folder, known = model.generation_config, tokenizer.get_vocab()
    settings = GenerationConfig(**{name: getattr(of_folder, name, None) for name in TOKEN_IDS})
    if NO_TIMESTAMPS in known:
        settings.no_timestamps_token_id = known[NO_TIMESTAMPS]
        told = getattr(of_folder, "is_multilingual", None)
        settings.is_multilingual = model.config.vocab_size >= MULTILINGUAL if told is None else told
        if settings.is_multilingual:
            settings.lang_to_id = {ENGLISH: known[ENGLISH]}
            settings.task_to_id = {"transcribe": known[TRANSCRIBE]}
    return settings


def _of_openai(settings: GenerationConfig) -> bool:
    return hasattr(settings, "no_timestamps_token_id")


def _many_languages(settings: GenerationConfig) -> bool:
    return getattr(settings, "is_multilingual", False)
