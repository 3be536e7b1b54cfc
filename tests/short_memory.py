"""A GPU whose memory is too small for a training step on more than two examples, without a GPU."""

from __future__ import annotations

import pytest
import torch

from speechllm_bench.models.speech_llm import SpeechLLM


def short_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a training step on more than two examples run out of memory."""
    answer_logits = SpeechLLM.answer_logits

    def short(model, batch, speech=None):
        if model.training and len(batch.tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return answer_logits(model, batch, speech)

    monkeypatch.setattr(SpeechLLM, "answer_logits", short)
