"""Speech before the telephone channel."""

from __future__ import annotations

import numpy as np

from speechllm_bench.data import synthesis
from speechllm_bench.data.audio import to_float32
from speechllm_bench.storage.schema import Voice


def synthesise(transcript: str, voice: Voice) -> np.ndarray:
    """Clean speech, float32 (n,) in [-1, 1] at the engine's rate."""
    service, _ = synthesis._engine(voice)
    speaker = synthesis._Process(service)
    try:
        return to_float32(speaker.ask(transcript, voice))
    finally:
        speaker.stop()
