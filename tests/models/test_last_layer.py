"""The last feed-forward layer at answers alone: the same loss and gradients as with it everywhere."""

from __future__ import annotations

import contextlib

import pytest
import torch
from conftest import ADAPTERS, validated

from speechllm_bench.models import speech_llm
from speechllm_bench.models.adapters import build_adapter
from speechllm_bench.models.inputs import Batch
from speechllm_bench.models.llm import load_llm
from speechllm_bench.models.speech_llm import SpeechLLM, last_feed_forward, positions_alone
from speechllm_bench.settings.config import LoraConfig

N_ROWS, N, FRAMES, WIDTH = 3, 30, 16, 4


@pytest.fixture(params=[None, LoraConfig(rank=2, alpha=2, dropout=0.0)], ids=["frozen", "lora"])
def model(request, tiny_backbones) -> SpeechLLM:
    torch.manual_seed(0)
    llm = load_llm(str(tiny_backbones / "llm"), request.param)
    for name, parameter in llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model = SpeechLLM(llm, build_adapter(validated(**ADAPTERS["mlp"]), WIDTH, llm.config.hidden_size))
    model.trained_parameters(["adapter", *(["lora"] if request.param else [])])
    return model


@pytest.fixture
def batch(model) -> Batch:
    """Prompts with speech in the middle and answers of 3, 4 and 5 tokens."""
    rng = torch.Generator().manual_seed(1)
    places = torch.arange(N).expand(N_ROWS, N)
    length = torch.tensor([[N - 4], [N - 2], [N]])
    n_speech = model.adapter.out_length(torch.tensor([FRAMES] * N_ROWS))
    return Batch(
        tokens=torch.randint(1, model.llm.config.vocab_size, (N_ROWS, N), generator=rng),
        attended=places < length,
        speech=(places >= 5) & (places < 5 + n_speech[:, None]),
        answer=(places < length) & (places >= length - torch.tensor([[3], [4], [5]])),
        frames=torch.randn(N_ROWS, FRAMES, WIDTH, generator=rng),
        n_frames=torch.tensor([FRAMES] * N_ROWS),
    )


def learned(model: SpeechLLM, batch: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model.loss(batch)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradients_are_those_with_it_everywhere(model, batch, monkeypatch):
    loss, gradients = learned(model, batch)
    monkeypatch.setattr(speech_llm, "positions_alone", lambda layer, wanted: contextlib.nullcontext())
    everywhere, whole = learned(model, batch)
    assert loss == pytest.approx(everywhere, rel=1e-6)
    assert gradients.keys() == whole.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-4, atol=1e-7)


def test_dropout_draws_what_it_drew(tiny_backbones):
    for dropout in (0.0, 0.1):
        llm = load_llm(str(tiny_backbones / "llm"), LoraConfig(rank=2, alpha=2, dropout=dropout))
        assert (last_feed_forward(llm.get_base_model()) is None) == (dropout > 0)


def test_a_layer_computes_what_is_wanted_alone_and_afterwards_all(model):
    layer, wanted = torch.nn.Linear(4, 2), torch.tensor([[True, False, True], [False, False, True]])
    inputs, seen = torch.randn(2, 3, 4), []
    layer.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].shape))
    whole = layer(inputs)
    with positions_alone(layer, wanted):
        found = layer(inputs)
    assert torch.allclose(found, whole * wanted[..., None]) and layer(inputs).equal(whole)
    assert [tuple(shape) for shape in seen] == [(2, 3, 4), (3, 4), (2, 3, 4)]
