"""The device that models compute on."""

from __future__ import annotations

import torch


def device() -> str:
    """Return "cuda" where there is a GPU, and "cpu" elsewhere."""
    return "cuda" if torch.cuda.is_available() else "cpu"
