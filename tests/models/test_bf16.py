"""bf16 over an fp32 model: where it is used, what is rounded and what stays exact."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from speechllm_bench.models import bf16, llm
from speechllm_bench.models.bf16 import Fp32Linear, computes_in_bf16
from speechllm_bench.settings.config import LoraConfig
from speechllm_bench.storage import paths


@pytest.mark.parametrize(
    ("precision", "device", "found", "speedup", "expected"),
    [
        ("fp32", "cuda", {"avx512_bf16": True}, 2.0, False),
        ("mixed", "cpu", {"avx512_bf16": True}, 2.0, True),
        ("mixed", "cpu", {"avx512_bf16": True}, 0.6, False),
        ("mixed", "cpu", {"avx2": True, "avx512_bf16": False}, 2.0, False),
        ("mixed", "cuda", {}, 0.0, True),
        ("bf16", "cpu", {}, 0.0, True),
    ],
)
def test_bf16_is_used_where_a_device_has_it_and_it_pays(
    monkeypatch, precision, device, found, speedup, expected
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr(bf16, "speedup_of_bf16", lambda: speedup)
    assert computes_in_bf16(precision, device) == expected


def test_the_speedup_of_bf16_is_measured_once_on_a_machine(monkeypatch, tmp_path):
    monkeypatch.setenv(paths.HOME, str(tmp_path))
    clock = iter([1.0, 0.5] * 20 + [1.0, 0.25] * 20)
    monkeypatch.setattr(bf16, "_seconds_of_product", lambda dtype: next(clock))

    def told() -> float:  # as in a new process
        bf16.speedup_of_bf16.cache_clear()
        return bf16.speedup_of_bf16()

    assert told() == told() == 2.0
    (file,) = (tmp_path / ".cache/bf16").iterdir()
    file.write_text("{")
    assert told() == 4.0  # a damaged file is measured anew
    monkeypatch.setattr(torch, "__version__", "another")
    with pytest.raises(StopIteration):  # another torch is measured too, and the clock has ended
        told()
    bf16.speedup_of_bf16.cache_clear()


@pytest.fixture
def mixed(tiny_backbones, monkeypatch):
    """An LLM in mixed precision with LoRA, on a machine that has bf16."""
    monkeypatch.setattr(llm, "computes_in_bf16", lambda precision, device: True)
    return llm.load_llm(str(tiny_backbones / "llm"), LoraConfig(rank=2, alpha=8, dropout=0.0), "mixed")


def test_frozen_linear_layers_are_rounded_and_all_else_stays_exact(mixed, tiny_backbones):
    exact = dict(llm.load_llm(str(tiny_backbones / "llm")).named_parameters())
    dtypes = {}
    for name, weight in mixed.named_parameters():
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        if "lora_" in name:
            assert weight.dtype == torch.float32
            continue
        dtypes[plain] = weight.dtype
        assert torch.equal(weight.float(), exact[plain].to(weight.dtype).float())
    assert {n for n, dtype in dtypes.items() if dtype == torch.bfloat16} == {
        n for n in dtypes if n.endswith("_proj.weight")
    }
    assert isinstance(mixed.get_output_embeddings(), Fp32Linear)


def test_an_untrained_one_says_nearly_what_the_exact_one_says(mixed, tiny_backbones):
    tokens = torch.arange(12)[None]
    exact = llm.load_llm(str(tiny_backbones / "llm"))(tokens).logits
    with torch.autocast("cpu", torch.bfloat16):
        rounded = mixed(tokens).logits
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    assert (rounded - exact).norm() < 0.05 * exact.norm()


def test_the_head_computes_in_fp32_under_autocast():
    plain = nn.Linear(8, 5)
    head = Fp32Linear(8, 5)
    head.load_state_dict(plain.state_dict())
    hidden = torch.randn(3, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert plain(hidden).dtype == torch.bfloat16
        said = head(hidden)
    assert torch.equal(said, nn.functional.linear(hidden.float(), head.weight, head.bias))


def test_where_a_processor_has_no_bf16_mixed_is_fp32(tiny_backbones, monkeypatch):
    monkeypatch.setattr(llm, "computes_in_bf16", lambda precision, device: False)
    model = llm.load_llm(str(tiny_backbones / "llm"), None, "mixed")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert bf16.Fp32Linear not in map(type, model.modules())
