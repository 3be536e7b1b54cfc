"""Speech recognition with Whisper's own decoder: audio in, text out.

Axes: B utterances, M mel frames, T encoder frames, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import GenerationMixin, PreTrainedTokenizerBase, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from speechllm_bench.models.encoder import encoder_states, log_mel, same_length_batches
from speechllm_bench.models.llm import load_tokenizer
from speechllm_bench.models.pretrained import load_pretrained


def load_asr(name: str) -> tuple[WhisperForConditionalGeneration, PreTrainedTokenizerBase]:
    model = load_pretrained(WhisperForConditionalGeneration, name)
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
            max_new_tokens=max_new_tokens,
            do_sample=False,
        )
        for i, text in zip(batch, tokenizer.batch_decode(tokens, skip_special_tokens=True), strict=True):
            said[i] = text.strip()
    return [said[i] for i in range(len(audio))]
