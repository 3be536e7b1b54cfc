"""A foundational audio LLM of Qwen2-Audio's class (2407.10759), split into the parts of a composite.

Its audio tower is used as the encoder (frames are computed once and stored), its projector as the adapter,
and its language model as the LLM. So the code of the composite trains, decodes and scores it.

Axes: B utterances, M mel frames (100 Hz), T tower frames before pooling (50 Hz), D tower width,
L = floor(T / 2) speech tokens (25 Hz, four times the composite's rate), E LLM embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel, Qwen2AudioEncoder
from transformers import Qwen2AudioForConditionalGeneration as Qwen2Audio

from speechllm_bench.backbones import backbone_folder
from speechllm_bench.models.adapters import Adapter
from speechllm_bench.models.encoder import (
    BATCH_SECONDS,
    MAX_SAMPLES,
    SAMPLES_PER_FRAME,
    log_mel,
    real_frames,
    same_length_batches,
)
from speechllm_bench.models.llm import plain_decoding
from speechllm_bench.models.pretrained import load_pretrained, loaded, not_finite
from speechllm_bench.settings.config import Precision

FRAMES_A_SECOND = 25
TOWER = "audio_tower."  # in the names of the tower's tensors
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
    """Return the frozen audio tower in eval mode and fp32. Nothing else of the model is read.

    Qwen2-Audio as a whole takes 31 GiB in fp32, and its tower takes 2.4 GiB. Raises UserError as
    `load_pretrained` does.
    """
    return loaded(partial(_tower, name), name).requires_grad_(False).eval().to(device)


def _tower(name: str, path: str, **settings: bool) -> Qwen2AudioEncoder:
    config = AutoConfig.from_pretrained(path, **settings).audio_config
    with torch.device("meta"):  # allocates no weights; the stored ones are put in below
        tower = AutoModel.from_config(config)
    weights: dict[str, Tensor] = {}
    for file in sorted(backbone_folder(name).glob("*.safetensors")):
        with safe_open(file, "pt") as stored:
            keys = [key for key in stored.keys() if TOWER in key]  # noqa: SIM118, no dictionary
            weights |= {key.rpartition(TOWER)[2]: stored.get_tensor(key).float() for key in keys}
    if wrong := sorted(weights.keys() ^ tower.state_dict().keys()):
        raise ValueError(
            f"the tensors of its audio tower are not those of its config.json, such as {wrong[0]}"
        )
    tower.load_state_dict(weights, assign=True)
    if wrong_numbers := not_finite(tower):
        raise ValueError(wrong_numbers)
    return tower


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
def encode(tower: Qwen2AudioEncoder, audio: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, (L, D) fp16 tower frames cut to the audio's real length), in batch order.

    Raises UserError for audio of more than 30 s.
    """
    quiet = [np.pad(a, (0, max(0, min(SILENCE, MAX_SAMPLES - len(a))))) for a in audio]
    n_mels, place = tower.config.num_mel_bins, tower.device
    for batch in same_length_batches([len(a) for a in quiet], "trimmed", BATCH_SECONDS[place.type]):
        mel = torch.stack([log_mel(quiet[i], "trimmed", n_mels, place) for i in batch])
        real = torch.tensor([real_frames(len(audio[i])) for i in batch], device=place)
        states = tower_states(tower, mel.to(tower.dtype), real)
        for row, index in enumerate(batch):
            yield index, states[row, : tower_frames(len(audio[index]))].to("cpu", torch.float16).numpy()
