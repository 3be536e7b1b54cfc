"""Distillation from the text LLM in training: L = L_LLM + w KL(text LLM || SpeechLLM).

Both terms are means over the answer tokens. The teacher is the SpeechLLM's own LLM without LoRA. It reads the
gold transcript where the student hears the turn. Both get the same question and the same answer prefix. The
teacher thus gives the next-token distribution for the text input, which aligns speech with text (BLSP-KD,
arXiv:2405.19041). It also keeps what the LLM answered before it was tuned to the training slots (the idea of
learning without forgetting, arXiv:1606.09282). The teacher has no weights of its own and runs without
gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from speechllm_bench.models.inputs import Batch
from speechllm_bench.models.speech_llm import SpeechLLM, cross_entropy


def loss(model: SpeechLLM, heard: Batch, read: Batch, weight: float) -> dict[str, Tensor]:
    """Return the terms `loss` (nats per target token) and `kl` (`weight` times the KL divergence, same unit).

    heard, read: the same examples with answers, once as speech (B, N) and once as gold transcripts (B, M).
    """
    expected = teacher_logits(model, read)  # (targets, V)
    # The answers have other positions in N than in M, but each row has the same target tokens.
    logits = model.answer_logits(heard)  # (targets, V)
    return {"loss": cross_entropy(logits, heard), "kl": weight * divergence(expected, logits)}


def divergence(expected: Tensor, logits: Tensor) -> Tensor:
    """Return KL(teacher || student) in nats, the mean over targets; both inputs are (targets, V)."""
    teacher, student = (x.float().log_softmax(dim=-1) for x in (expected, logits))
    return nn.functional.kl_div(student, teacher, log_target=True, reduction="batchmean")


@torch.no_grad()
def teacher_logits(model: SpeechLLM, read: Batch) -> Tensor:
    """Return the logits (targets, V) of the LLM without LoRA, which reads the transcript."""
    with _as_it_came(model.llm):
        return model.answer_logits(read)


@contextmanager
def _as_it_came(llm: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Switch off the LLM's LoRA and dropout within the block, and restore both afterwards.

    peft makes all LoRA weights trainable when it switches LoRA on again, even in a stage that trains only the
    adapter. So `requires_grad` is saved and restored here.
    """
    training, learned = llm.training, {p: p.requires_grad for p in llm.parameters()}
    llm.eval()
    try:
        if isinstance(llm, PeftModel):
            with llm.disable_adapter():
                yield
        else:
            yield
    finally:
        llm.train(training)
        for parameter, learns in learned.items():
            parameter.requires_grad_(learns)
