"""Gradients of a batch in parts against those of the whole batch."""

from __future__ import annotations

import pytest
import torch

from speechllm_bench.data import questions
from speechllm_bench.models.inputs import collate, n_targets
from speechllm_bench.settings.config import LoraConfig
from speechllm_bench.training import stages
from speechllm_bench.training.accumulation import Parts


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-6), (torch.float32, 5e-6)])
def test_gradients_of_parts_sum_to_those_of_the_batch(tiny_run, tiny_data, dtype, within, size):
    """They differ only by rounding, as shares of a tensor's largest gradient.

    Measured: 3e-7 in float64, where norms and cross-entropy are still in fp32, and 2e-6 in fp32. So fp32
    alone does not keep 1e-6. Parts hold different numbers of target tokens.
    """
    config = tiny_run(lora=LoraConfig(rank=2, alpha=8, dropout=0.0))
    model, tokenizer = stages.build_model(config, tiny_data.frames.dim)
    torch.manual_seed(0)
    for name, weight in model.trained_parameters(["adapter", "lora"]).items():
        if "lora_B" in name:
            torch.nn.init.normal_(weight.data, std=0.3)  # zero at the start, so lora_A would have no gradient
    model.to(dtype)
    turns = tiny_data.train[:8]
    examples = [questions.training_example(u, tiny_data.slot_types, {"slots": 1.0}, 0, 0) for u in turns]
    assert len({n_targets(tokenizer, example) for example in examples}) > 1

    def gradients(n):
        model.zero_grad()
        for share, part in Parts(lambda i: n_targets(tokenizer, examples[i]), n)(range(8)):
            batch = collate(
                tokenizer, [examples[i] for i in part], frames=[tiny_data.frames[turns[i].id] for i in part],
                speech_tokens=model.speech_tokens, with_answer=True,
            )  # fmt: skip
            batch.frames = batch.frames.to(dtype)
            (share * model.loss(batch)).backward()
        return {name: w.grad.clone() for name, w in model.named_parameters() if w.requires_grad}

    whole, summed = gradients(None), gradients(size)
    assert len(whole) > 10
    for name, gradient in whole.items():
        largest = gradient.abs().max()
        assert largest > 0 and (gradient - summed[name]).abs().max() <= within * largest, name
