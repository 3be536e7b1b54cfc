"""LoRA merged into the weights while answers are decoded, and out of them again."""

from __future__ import annotations

import pytest
import torch

from speechllm_bench.models.llm import load_llm, merged_lora
from speechllm_bench.settings.config import LoraConfig

TOKENS = torch.tensor([[5, 9, 7, 3]])


@pytest.fixture
def llm(tiny_backbones):
    """An LLM whose LoRA changes what it says."""
    llm = load_llm(str(tiny_backbones / "llm"), LoraConfig(rank=2, alpha=8, dropout=0.0)).eval()
    rng = torch.Generator().manual_seed(0)
    for name, weight in llm.named_parameters():
        if "lora_" in name:
            weight.data = 0.3 * torch.randn(weight.shape, generator=rng)
    return llm


@torch.inference_mode()
def test_the_same_is_said_without_lora_s_own_products(llm, monkeypatch):
    expected = llm(TOKENS).logits
    with llm.disable_adapter():
        assert not torch.allclose(llm(TOKENS).logits, expected, atol=0.1)
    with merged_lora(llm):
        for name, part in llm.named_modules():
            if "lora_A" in name or "lora_B" in name:
                monkeypatch.setattr(part, "forward", None)  # called, it would be a TypeError
        assert torch.allclose(llm(TOKENS).logits, expected, atol=1e-4)


@torch.inference_mode()
def test_weights_are_what_they_were_afterwards(llm):
    before = {name: weight.clone() for name, weight in llm.named_parameters()}
    expected = llm(TOKENS).logits
    with pytest.raises(KeyboardInterrupt), merged_lora(llm):
        raise KeyboardInterrupt
    assert all(torch.equal(weight, before[name]) for name, weight in llm.named_parameters())
    assert torch.equal(llm(TOKENS).logits, expected)


@torch.inference_mode()
def test_weights_in_bf16_stay_apart_from_lora(llm):
    llm.to(torch.bfloat16)
    before = llm(TOKENS).logits
    with merged_lora(llm):
        assert torch.equal(llm(TOKENS).logits, before)
