"""A reproducible benchmark suite for SpeechLLMs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechllm_bench.api import load, results

__all__ = ["load", "results"]


def __getattr__(name: str):
    """Import the functions of `api` when they are first used."""
    if name in __all__:
        from speechllm_bench import api

        return getattr(api, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
