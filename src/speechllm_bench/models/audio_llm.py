"""A foundational audio LLM of Qwen2-Audio's class (2407.10759), split into the parts of a composite.

Its audio tower is used as the encoder (frames are computed once and stored), its projector as the adapter,
and its language model as the LLM. So the code of the composite trains, decodes and scores it.

Axes: B utterances, M mel frames (100 Hz), T tower frames before pooling (50 Hz), D tower width,
L = floor(T / 2) speech tokens (25 Hz, four times the composite's rate), E LLM embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2AudioEncoder
from transformers import Qwen2AudioForConditionalGeneration as Qwen2Audio

from speechllm_bench.models.adapters import Adapter
from speechllm_bench.models.encoder import (
    MAX_SAMPLES,
    SAMPLES_PER_FRAME,
    log_mel,
    real_frames,
    same_length_batches,
)
from speechllm_bench.models.llm import plain_decoding
from speechllm_bench.models.pretrained import load_pretrained
from speechllm_bench.settings.config import Precision

FRAMES_A_SECOND = 25
SILENCE = 4 * SAMPLES_PER_FRAME  # samples after the audio that its last frame depends on


class Projector(Adapter):
    """Maps tower frames (B, L, D) to (B, L, E) with one linear layer, without downsampling."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear

    @staticmethod
    def out_length(n_frames):
        return n_frames

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return self.linear(frames)  # (B, L, E)


def load_audio_llm(name: str, precision: Precision = "fp32") -> Qwen2Audio:
    """Return the whole model in eval mode, from a folder or a hub name, converted to `precision`."""
    return load_pretrained(Qwen2Audio, name, precision).eval()


def language_parts(model: Qwen2Audio) -> tuple[PreTrainedModel, Projector]:
    """Return the language model as a causal LLM, and the projector. Both share the model's own weights.

    The LLM decodes greedily: only the token ids of the folder's generation settings are kept.
    """
    with torch.device("meta"):  # allocates no weights; the model's own are put in below
        llm = AutoModelForCausalLM.from_config(model.config.text_config)
    llm.model, llm.lm_head = model.model.language_model, model.lm_head
    llm.generation_config = plain_decoding(model.generation_config)
    return llm, Projector(model.model.multi_modal_projector.linear)


def load_tower(name: str, device: str = "cpu") -> Qwen2AudioEncoder:
    """Return the frozen audio tower in eval mode."""
    return load_audio_llm(name).model.audio_tower.requires_grad_(False).eval().to(device)


def tower_frames(n_samples: int) -> int:
    """Return the number of tower frames (25 Hz), which are the speech tokens, of `n_samples` at 16 kHz."""
    return real_frames(n_samples) // 2


def tower_states(tower: Qwen2AudioEncoder, mel: Tensor, real: Tensor) -> Tensor:
    """Encode mel (B, n_mels, M) to tower frames (B, L, D), of which the first floor(real / 2) are valid.

    real: (B,) frames at 50 Hz that hold audio. The result is that of `Qwen2AudioForConditionalGeneration` at
    30 s, but for any M. That model masks silence, so the frames of the audio are the same without it (test:
    equal to the whole model's).
    """
    x = nn.functional.gelu(tower.conv1(mel))  # (B, D, M)
    x = nn.functional.gelu(tower.conv2(x)).transpose(1, 2)  # (B, T, D)
    x = x + tower.embed_positions.weight[: x.shape[1]]
    beyond = torch.arange(x.shape[1], device=x.device) >= real[:, None]  # (B, T)
    mask = torch.zeros_like(beyond, dtype=x.dtype).masked_fill(beyond, torch.finfo(x.dtype).min)
    for layer in tower.layers:
        x = layer(x, mask[:, None, None])  # (B, 1, 1, T): broadcast over heads and queries
    x = tower.avg_pooler(x.transpose(1, 2)).transpose(1, 2)  # (B, T, D) -> (B, L, D)
    return tower.layer_norm(x)


@torch.inference_mode()
def encode(
    tower: Qwen2AudioEncoder, audio: Sequence[np.ndarray], seconds: float = 60.0
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, (L, D) fp16 tower frames cut to the audio's real length), in batch order.

    Raises UserError for audio of more than 30 s.
    """
    quiet = [np.pad(a, (0, max(0, min(SILENCE, MAX_SAMPLES - len(a))))) for a in audio]
    n_mels = tower.config.num_mel_bins
    for batch in same_length_batches([len(a) for a in quiet], "trimmed", seconds):
        mel = torch.stack([log_mel(quiet[i], "trimmed", n_mels) for i in batch])
        real = torch.tensor([real_frames(len(audio[i])) for i in batch], device=tower.device)
        states = tower_states(tower, mel.to(tower.device, tower.dtype), real)
        for row, index in enumerate(batch):
            yield index, states[row, : tower_frames(len(audio[index]))].to("cpu", torch.float16).numpy()
