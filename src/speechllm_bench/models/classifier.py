"""The classifier regulariser of 2509.04473: it predicts labels of an utterance from the adapter's output.

It is only used in training. The paper specifies a 2-D CNN of three layers; channels, kernels and strides are
ours. Axes: B utterances, L speech tokens, E LLM embedding width, C channels, K labels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

CHANNELS = (1, 16, 32, 64)
STRIDE = 2


class Classifier(nn.Module):
    """Maps embeddings (B, L, E), of which `lengths` (B,) are speech, to logits (B, K), one per label."""

    def __init__(self, n_labels: int):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=3, stride=STRIDE, padding=1) for a, b in pairwise(CHANNELS)
        )
        self.out = nn.Linear(CHANNELS[-1], n_labels)

    def forward(self, speech: Tensor, lengths: Tensor) -> Tensor:
        x = _cut(speech[:, None], lengths)  # (B, 1, L, E)
        for convolution in self.convolutions:
            lengths = -(-lengths // STRIDE)
            x = _cut(nn.functional.gelu(convolution(x)), lengths)  # (B, C, ceil(L / 2), ceil(E / 2))
        mean = x.sum(dim=2).mean(dim=2) / lengths[:, None]  # (B, C): mean over speech tokens and features
        return self.out(mean)


def _cut(x: Tensor, lengths: Tensor) -> Tensor:
    """Zero positions of (B, C, L, E) beyond `lengths` (B,). Padding would leak into the last positions."""
    return x * (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None, :, None]
