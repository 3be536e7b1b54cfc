"""Speech recognition with Whisper's own decoder: audio in, text out.

Axes: B utterances, M mel frames, T encoder frames, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationMixin, PreTrainedTokenizerBase, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from speechllm_bench.models.encoder import encoder_states, log_mel, same_length_batches
from speechllm_bench.models.llm import load_tokenizer
from speechllm_bench.models.pretrained import load_pretrained


def load_asr(name: str) -> tuple[WhisperForConditionalGeneration, PreTrainedTokenizerBase]:
    model = load_pretrained(WhisperForConditionalGeneration, name)
    model.generation_config.max_length = None  # `transcribe` bounds the new tokens instead
    return model.eval(), load_tokenizer(name)


@torch.inference_mode()
def transcribe(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    audio: Sequence[np.ndarray],
    padding: str,
    max_new_tokens: int = 96,
    seconds: float = 120.0,
) -> list[str]:
    """Greedy transcripts of 16 kHz audio, in its order; batches hold about `seconds` of padded audio."""
    said: dict[int, str] = {}
    for batch in same_length_batches([len(a) for a in audio], padding, seconds):
        mel = torch.stack([log_mel(audio[i], padding, model.config.num_mel_bins) for i in batch])
        states = encoder_states(model.get_encoder(), mel.to(model.device))  # (B, T, D)
        # The mixin's generate, since Whisper's own insists on 30 s of features.
        tokens = GenerationMixin.generate(
            model,
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=states.new_ones(states.shape[:2]),  # no frame is masked; unsaid, it warns
            **_prompt(model, len(batch)),
            max_new_tokens=max_new_tokens,
            do_sample=False,
        )
        for i, text in zip(batch, tokenizer.batch_decode(tokens, skip_special_tokens=True), strict=True):
            said[i] = text.strip()
    return [said[i] for i in range(len(audio))]


def _prompt(model: WhisperForConditionalGeneration, n: int) -> dict[str, Tensor]:
    """(n, 4) tokens that ask a Whisper of many languages for English text without timestamps.

    The zoo's Whisper knows one language and one task: its decoder begins with its start token alone.
    """
    settings = model.generation_config
    if not getattr(settings, "lang_to_id", None):
        return {}
    tokens = [
        settings.decoder_start_token_id,
        settings.lang_to_id["<|en|>"],
        settings.task_to_id["transcribe"],
        settings.no_timestamps_token_id,
    ]
    return {"decoder_input_ids": torch.tensor([tokens], device=model.device).expand(n, -1)}
