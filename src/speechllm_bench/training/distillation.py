"""Distillation from the text LLM in training: L = L_LLM + w KL(text LLM || SpeechLLM).

Both terms are over the answers' tokens. The teacher is the SpeechLLM's own LLM without LoRA, and it reads the
gold transcript where the student hears the turn. Both have the same question and the same answer up to each
token, so the teacher says what would have come next had the turn been read (BLSP-KD, arXiv:2405.19041, does
so to align speech with text), and what the LLM answered before it was tuned to the slots of the training (the
idea of learning without forgetting, arXiv:1606.09282). It has no weights of its own and is run beside the
student, without gradients.
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
    """The terms `loss`, nats per target token, and `kl`, `weight` times the divergence in the same unit.

    heard and read: the same examples with their answers, as speech (B, N) and as gold transcripts (B, M).
    """
    expected = teacher_logits(model, read)  # (targets, V)
    # The answers stand elsewhere in N than in M, but row by row they are the same tokens: the same targets.
    logits = model.answer_logits(heard)  # (targets, V)
    return {"loss": cross_entropy(logits, heard), "kl": weight * divergence(expected, logits)}


def divergence(expected: Tensor, logits: Tensor) -> Tensor:
    """KL(teacher || student) in nats, the mean over targets; both (targets, V)."""
    teacher, student = (x.float().log_softmax(dim=-1) for x in (expected, logits))
    return nn.functional.kl_div(student, teacher, log_target=True, reduction="batchmean")


@torch.no_grad()
def teacher_logits(model: SpeechLLM, read: Batch) -> Tensor:
    """(targets, V): of the LLM as it came, which reads a transcript."""
    with _as_it_came(model.llm):
        return model.answer_logits(read)


@contextmanager
def _as_it_came(llm: PreTrainedModel | PeftModel) -> Iterator[None]:
    """The LLM without LoRA and without dropout; then as it was.

    When peft brings LoRA back it lets all of it learn, also in a stage that trains the adapter alone: what
    learned before is remembered here.
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
