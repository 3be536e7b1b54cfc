"""Modality adapters: they map encoder frames to six or eight times fewer LLM embeddings.

Axes: B utterances, T encoder frames (50 Hz), D encoder width, L speech tokens, E LLM embedding width, W the
adapter's own width. The adapters of 2510.15851, section 3.3, have L = ceil(T / 8) (6.25 Hz). That paper gives
parameter counts, not shapes. The shapes below match its counts within 1 % at its widths (D = 512,
E = W = 2048; CNN: W = 512). `Pooling` is the adapter of 2509.04473.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise

import torch
from torch import Tensor, nn

from speechllm_bench.settings.adapter_config import (
    FRAMES_PER_30S,
    AdapterConfig,
    CNNConfig,
    CNNXLConfig,
    LinearConfig,
    MLPConfig,
    PoolingConfig,
    TransformerConfig,
)

DOWNSAMPLING = 8


class Adapter(nn.Module):
    """Maps frames (B, T, D), zero beyond `lengths` (B,), to speech tokens (B, L, E).

    The first `out_length(lengths)` outputs of each row are valid.
    """

    rate = Fraction(1, DOWNSAMPLING)  # speech tokens per frame

    def out_length(self, n_frames):
        """Return the number of speech tokens for `n_frames` frames, an int or an integer tensor."""
        return -(-n_frames * self.rate.numerator // self.rate.denominator)  # rounded up


class CNN(Adapter):
    """Three convolutions of stride 2, then a linear layer."""

    extra_layers = 0  # convolutions of stride 1 after each one of stride 2

    def __init__(self, d_in: int, d_out: int, config: CNNConfig | CNNXLConfig):
        super().__init__()
        strides = [2, *[1] * self.extra_layers] * 3
        widths = [d_in] + [config.width] * len(strides)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, kernel_size=3, stride=s, padding=1)
            for a, b, s in zip(widths, widths[1:], strides, strict=False)
        )
        self.out = nn.Linear(config.width, d_out)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        x = frames.transpose(1, 2)  # (B, D, T)
        for convolution in self.convolutions:
            x = nn.functional.gelu(convolution(x))  # stride 2: (B, W, T) -> (B, W, ceil(T / 2))
            lengths = -(-lengths // convolution.stride[0])
            # Zero what is beyond the end, because padding would leak into the last frames.
            x = x * (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None]
        return self.out(x.transpose(1, 2))  # (B, L, E)


class CNNXL(CNN):
    """The larger CNN: it has a second convolution at every rate, and is wider."""

    extra_layers = 1


class Linear(Adapter):
    """One linear layer over eight stacked frames."""

    def __init__(self, d_in: int, d_out: int, config: LinearConfig):
        super().__init__()
        self.out = nn.Linear(DOWNSAMPLING * d_in, d_out)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return self.out(stack_frames(frames))  # (B, L, E)


class MLP(Adapter):
    """An MLP with `layers` hidden layers over eight stacked frames (3 in 2510.15851, 1 in 2510.19326)."""

    def __init__(self, d_in: int, d_out: int, config: MLPConfig):
        super().__init__()
        widths = [DOWNSAMPLING * d_in] + [config.width] * config.layers
        hidden = [nn.Sequential(nn.Linear(a, b), nn.GELU()) for a, b in pairwise(widths)]
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], d_out))

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return self.layers(stack_frames(frames))  # (B, L, E)


class Transformer(Adapter):
    """A projection of eight stacked frames, Transformer layers (post-norm by default), and a linear layer."""

    def __init__(self, d_in: int, d_out: int, config: TransformerConfig):
        super().__init__()
        width = config.width
        self.project = nn.Sequential(
            nn.Linear(DOWNSAMPLING * d_in, width), nn.GELU(), nn.Linear(width, width)
        )
        layer = nn.TransformerEncoderLayer(
            width, config.heads, config.feed_forward, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=config.pre_norm,
        )  # fmt: skip
        last = nn.LayerNorm(width) if config.pre_norm else None  # pre-norm layers do not bound their output
        self.layers = nn.TransformerEncoder(layer, config.layers, norm=last, enable_nested_tensor=False)
        self.out = nn.Linear(width, d_out)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        x = self.project(stack_frames(frames))  # (B, L, W)
        x = x + sinusoids(x.shape[1], x.shape[2]).to(x)
        beyond = torch.arange(x.shape[1], device=x.device) >= self.out_length(lengths)[:, None]  # (B, L)
        return self.out(self.layers(x, src_key_padding_mask=beyond))  # (B, L, E)


class Pooling(Adapter):
    """Average pooling to a number of steps, normalisation, and a linear layer (2509.04473, method).

    The paper pools the 1,500 frames of 30 s to 250 steps. Shorter audio is pooled at the same rate. We do not
    know which normalisation the paper uses; ours is a LayerNorm over the encoder width D.
    """

    def __init__(self, d_in: int, d_out: int, config: PoolingConfig):
        super().__init__()
        self.rate = Fraction(config.steps_per_30s, FRAMES_PER_30S)
        self.norm = nn.LayerNorm(d_in)
        self.out = nn.Linear(d_in, d_out)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return self.out(self.norm(adaptive_average(frames, lengths, self.out_length(lengths))))  # (B, L, E)


class Scaled(Adapter):
    """An adapter whose outputs are scaled to one L2 norm, that of a typical LLM embedding.

    Only the directions are learned. The CTC warm start learns directions by cosine (`models/ctc.py`). The
    scaling gives the stages after it outputs as long as the LLM's own embeddings.
    """

    def __init__(self, adapter: Adapter, norm: float):
        super().__init__()
        self.adapter, self.norm, self.rate = adapter, norm, adapter.rate

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return nn.functional.normalize(self.adapter(frames, lengths).float(), dim=-1) * self.norm  # (B, L, E)


def mean_norm(embeddings: Tensor) -> float:
    """Return the mean L2 norm of embeddings (V, E). It is computed on the CPU: the same for every device."""
    return embeddings.detach().cpu().float().norm(dim=1).double().mean().item()


def adaptive_average(frames: Tensor, lengths: Tensor, steps: Tensor) -> Tensor:
    """Pool frames (B, T, D) with `lengths` (B,) to averages (B, L, D) with `steps` (B,) valid ones.

    Each row equals `torch.nn.functional.adaptive_avg_pool1d` of the row alone: step i is the mean of frames
    floor(i T / L) to ceil((i + 1) T / L) - 1. Beyond its valid steps a row repeats its last step.
    """
    lengths, steps = lengths[:, None], steps[:, None]  # (B, 1)
    step = torch.arange(int(steps.max()), device=frames.device).minimum(steps - 1)  # (B, L)
    first, end = step * lengths // steps, -(-(step + 1) * lengths // steps)  # (B, L)
    window = torch.arange(int((end - first).max()), device=frames.device)  # (W,), W the widest window
    place = first[..., None] + window  # (B, L, W)
    inside = place < end[..., None]  # (B, L, W)
    row = torch.arange(len(frames), device=frames.device)[:, None, None]
    taken = frames[row, place.clamp(max=frames.shape[1] - 1)]  # (B, L, W, D)
    return (taken * inside[..., None]).sum(dim=2) / inside.sum(dim=2)[..., None]  # (B, L, D)


def stack_frames(frames: Tensor) -> Tensor:
    """Stack eight frames: (B, T, D) -> (B, L, 8 D). The last stack is padded with zeros."""
    batch, n_frames, width = frames.shape
    frames = nn.functional.pad(frames, (0, 0, 0, -n_frames % DOWNSAMPLING))
    return frames.reshape(batch, -1, DOWNSAMPLING * width)


def sinusoids(length: int, width: int) -> Tensor:
    """Return sinusoidal position embeddings (length, width), as in Whisper's encoder."""
    rates = torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2 - 1))
    angles = torch.arange(length)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


KINDS = {
    "cnn": CNN,
    "cnn_xl": CNNXL,
    "linear": Linear,
    "mlp": MLP,
    "transformer": Transformer,
    "pooling": Pooling,
}


def build_adapter(config: AdapterConfig, d_in: int, d_out: int, norm: float = 1.0) -> Adapter:
    """Return an untrained adapter from width `d_in` to `d_out`. norm: L2 norm of outputs, if it is scaled."""
    adapter = KINDS[config.kind](d_in, d_out, config)
    return Scaled(adapter, norm) if config.scaled else adapter


def parameters_of(configs: Mapping[str, AdapterConfig], d_in: int, d_out: int) -> dict[str, int]:
    """Return the number of parameters of each adapter by name. No weights are allocated."""
    with torch.device("meta"):
        return {name: n_parameters(build_adapter(c, d_in, d_out)) for name, c in configs.items()}


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
