"""The pooling adapter against torch's own adaptive pooling, and the rates that it keeps."""

from __future__ import annotations

import pytest
import torch
from conftest import validated
from torch.nn import functional

from speechllm_bench.models import adapters
from speechllm_bench.models.llm import load_llm
from speechllm_bench.settings.config import LoraConfig


def build(steps: int) -> adapters.Adapter:
    torch.manual_seed(1)
    config = validated(kind="pooling", steps_per_30s=steps)
    return adapters.build_adapter(config, 6, 10).eval()


@pytest.mark.parametrize("steps", [125, 250, 500, 7, 1500])
def test_30_s_take_the_steps_named_and_less_takes_as_many_as_keep_the_rate(steps):
    adapter = build(steps)
    assert adapter.out_length(1500) == steps
    assert [adapter.out_length(n) for n in (1, 750)] == [1, -(-steps // 2)]
    assert adapter(torch.randn(1, 1500, 6), torch.tensor([1500])).shape == (1, steps, 10)


@pytest.mark.parametrize("steps", [125, 250, 500, 1500])
def test_each_row_of_a_batch_is_torchs_adaptive_pooling_of_it_alone(steps):
    adapter = build(steps)
    lengths = torch.tensor([1, 5, 6, 7, 100, 137, 401])
    frames = torch.randn(len(lengths), 401, 6)
    frames = frames * (torch.arange(401) < lengths[:, None])[..., None]
    pooled = adapters.adaptive_average(frames, lengths, adapter.out_length(lengths))
    for row, n in enumerate(lengths.tolist()):
        n_steps = adapter.out_length(n)
        theirs = functional.adaptive_avg_pool1d(frames[row, :n].T, n_steps).T
        torch.testing.assert_close(pooled[row, :n_steps], theirs, atol=1e-6, rtol=1e-5)


def test_it_is_a_norm_and_a_linear_layer_at_the_papers_widths():
    config = validated(kind="pooling", steps_per_30s=250)
    sizes = adapters.parameters_of({"pooling": config}, 768, 2048)  # Whisper-small, TinyLlama
    assert sizes == {"pooling": 2 * 768 + 768 * 2048 + 2048}


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "pooling"},
        {"kind": "mlp", "width": 8, "layers": 1, "steps_per_30s": 250},
        {"kind": "pooling", "steps_per_30s": 1501},
    ],
)
def test_a_rate_without_pooling_or_pooling_without_a_rate_is_refused(settings):
    with pytest.raises(ValueError, match="steps_per_30s"):
        validated(**settings)


def test_lora_on_queries_keys_and_values_alone(tiny_backbones):
    settings = {"rank": 2, "alpha": 2, "dropout": 0.0}
    for targets, layers in (("qkv", {"q_proj", "k_proj", "v_proj"}), (None, None)):
        llm = load_llm(str(tiny_backbones / "llm"), LoraConfig(**settings, targets=targets))
        tuned = {n.split(".lora_")[0].split(".")[-1] for n, _ in llm.named_parameters() if "lora_" in n}
        assert tuned == layers if layers else len(tuned) == 7
