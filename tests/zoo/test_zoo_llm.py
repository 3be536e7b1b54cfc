"""Post-training of llm-mini, on a tiny LLM: it learns, the seed decides, soft reading is another training."""

from __future__ import annotations

import pytest
import torch

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.zoo import llm
from speechllm_bench.zoo.config import PostTraining, load_recipe

PHASE = PostTraining(
    name="phase", first=0, repeated=0.5, renamed=0.5, rare=0.5, soft=False,
    examples=32, batch_size=8, lr=0.01, warmup=0.1, weight_decay=0.0, clip=1.0, points=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def utterances():
    return call_centre.utterances("zoo", 50)


def trained(tiny_backbones, utterances, folder, phase):
    name = str(tiny_backbones / "llm")
    model, tokenizer = load_llm(name).requires_grad_(True), load_tokenizer(name)
    parameters, shares = dict(model.named_parameters()), []
    fit = llm.post_train(
        load_recipe("llm-mini"), phase, model, parameters, tokenizer, utterances, folder,
        lambda name, share: shares.append((name, share)),
    )  # fmt: skip
    assert fit.status == "ok" and shares[-1] == ("phase", 1.0)
    return model.get_input_embeddings().weight.detach(), fit


@pytest.mark.parametrize("soft", [False, True])
def test_a_phase_trains_and_the_seed_decides(tiny_backbones, utterances, tmp_path, monkeypatch, soft):
    monkeypatch.setattr(llm, "HELD_OUT_ROWS", 24)
    phase = PHASE.model_copy(update={"soft": soft})
    weights, fit = trained(tiny_backbones, utterances, tmp_path / "a", phase)
    again, _ = trained(tiny_backbones, utterances, tmp_path / "b", phase)
    assert torch.equal(weights, again)
    losses = [p.value for p in fit.curve if p.split == "train" and p.metric == "loss"]
    assert losses[1] < losses[0]
    found = {p.metric for p in fit.curve if p.split == "validation"}
    assert found == {"loss", "slots_exact", "transcription_exact"}


def test_soft_reading_is_another_training(tiny_backbones, utterances, tmp_path, monkeypatch):
    monkeypatch.setattr(llm, "HELD_OUT_ROWS", 24)
    plain, _ = trained(tiny_backbones, utterances, tmp_path / "a", PHASE)
    soft, _ = trained(tiny_backbones, utterances, tmp_path / "b", PHASE.model_copy(update={"soft": True}))
    assert not torch.equal(plain, soft)
