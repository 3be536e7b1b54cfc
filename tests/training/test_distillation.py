"""Distillation from the text LLM: who teaches, at which tokens, and that nothing of it stays behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechllm_bench.data import questions
from speechllm_bench.models.inputs import collate
from speechllm_bench.models.llm import load_llm
from speechllm_bench.models.speech_llm import SpeechLLM, cross_entropy
from speechllm_bench.settings.config import (
    ClassifierConfig,
    DistillationConfig,
    LoraConfig,
    RunConfig,
    StageConfig,
)
from speechllm_bench.training import distillation, stages

LORA = LoraConfig(rank=2, alpha=8, dropout=0.5)
TAUGHT = DistillationConfig(weight=0.5)


def stage(run, **changes):
    return run.model_copy(update={"stages": [run.stages[0].model_copy(update=changes)]})


def asked(data, turns):
    return [questions.training_example(u, data.slot_types, {"slots": 1.0}, 0, 0) for u in turns]


@pytest.fixture
def both(tiny_run, tiny_data):
    """A student whose LoRA has learned something, and four turns as it hears them and as they read."""
    run = tiny_run(lora=LORA)
    model, tokenizer = stages.build_model(run, tiny_data.frames.dim)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    turns = tiny_data.train[:4]
    examples = asked(tiny_data, turns)
    frames = [tiny_data.frames[u.id] for u in turns]
    heard = collate(tokenizer, examples, frames=frames, speech_tokens=model.speech_tokens, with_answer=True)
    read = collate(tokenizer, examples, transcripts=[u.transcript for u in turns], with_answer=True)
    model.trained_parameters(["adapter", "lora"])
    return model, heard.to(model.llm.device), read.to(model.llm.device)


def test_the_divergence_is_that_of_the_teacher_from_the_student_a_target():
    teacher, student = torch.tensor([[0.9, 0.1], [0.5, 0.5]]), torch.tensor([[0.6, 0.4], [0.5, 0.5]])
    by_hand = (0.9 * np.log(0.9 / 0.6) + 0.1 * np.log(0.1 / 0.4)) / 2
    found = distillation.divergence(teacher.log(), student.log() + 3)  # logits, so any constant may be added
    assert found.item() == pytest.approx(by_hand, rel=1e-5)
    assert distillation.divergence(teacher.log(), teacher.log()).item() == pytest.approx(0, abs=1e-7)


def test_the_teacher_is_the_llm_as_it_came_and_reads(both, tiny_run):
    model, heard, read = both
    model.train()
    found = distillation.teacher_logits(model, read)
    plain = SpeechLLM(load_llm(tiny_run().llm), None).to(found.device).eval()
    assert torch.equal(found, plain.answer_logits(read)) and not found.requires_grad
    assert not torch.allclose(found, model.eval().answer_logits(heard), atol=0.1)
    assert read.tokens.shape[1] != heard.tokens.shape[1]


def test_targets_are_the_same_tokens_in_the_same_order_at_other_positions(both):
    """Logits of a batch are those of its examples one by one, so row i of both is of one token."""
    model, heard, read = both
    assert not torch.equal(heard.answer[:, : read.answer.shape[1]], read.answer[:, : heard.answer.shape[1]])
    assert torch.equal(heard.tokens[heard.answer], read.tokens[read.answer])
    lengths = heard.answer.sum(dim=1)
    assert torch.equal(lengths, read.answer.sum(dim=1)) and len(set(lengths.tolist())) > 1
    model.eval()
    for logits, batch in (
        (distillation.teacher_logits(model, read), read),
        (model.answer_logits(heard), heard),
    ):
        assert logits.shape == (lengths.sum(), model.llm.config.vocab_size)
        shuffled = type(batch)(**{k: v.flip(0) if v is not None else None for k, v in vars(batch).items()})
        again = (
            distillation.teacher_logits(model, shuffled) if batch is read else model.answer_logits(shuffled)
        )
        parts = [part for part in again.split(lengths.flip(0).tolist())][::-1]
        assert torch.allclose(torch.cat(parts), logits, atol=1e-4)


def test_the_terms_are_the_loss_as_ever_and_the_divergence_times_its_weight(both):
    model, heard, read = both
    model.eval()
    once, twice = (distillation.loss(model, heard, read, weight) for weight in (1.0, 2.0))
    assert once["loss"].item() == model.loss(heard).item() == twice["loss"].item()
    expected, said = distillation.teacher_logits(model, read), model.answer_logits(heard)
    assert once["kl"].item() == pytest.approx(distillation.divergence(expected, said).item())
    assert twice["kl"].item() == pytest.approx(2 * once["kl"].item()) and once["kl"] > 0.1
    assert cross_entropy(said, heard).item() == once["loss"].item()


@pytest.mark.parametrize("parts", [["adapter"], ["adapter", "lora"]])
def test_only_what_the_stage_trains_gets_a_gradient(both, parts):
    """peft, left alone, lets LoRA learn again after it was out of the way."""
    model, heard, read = both
    trained = model.trained_parameters(parts)
    model.train()
    distillation.loss(model, heard, read, 1.0)["kl"].backward()
    assert model.training and model.llm.training
    assert {name for name, p in model.named_parameters() if p.requires_grad} == set(trained)
    assert {name for name, p in model.named_parameters() if p.grad is not None} == set(trained)
    assert all(p.grad.abs().sum() > 0 for name, p in trained.items() if "lora_A" not in name)


def test_the_divergence_falls_where_it_is_all_that_is_learned(both):
    model, heard, read = both
    before = distillation.teacher_logits(model, read)
    optimizer, found = torch.optim.Adam(model.trained_parameters(["adapter", "lora"]).values(), lr=0.02), []
    model.eval()
    for _ in range(60):
        term = distillation.loss(model, heard, read, 1.0)["kl"]
        term.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(term.item())
    assert found[-1] < 0.6 * found[0]
    assert torch.equal(distillation.teacher_logits(model, read), before)  # the teacher has learned nothing


def test_a_stage_learns_from_it_and_is_otherwise_what_it_was(tiny_run, tiny_data, tmp_path):
    """Dropout is drawn as without a teacher, and validation asks for nothing new."""
    base = stage(tiny_run(lora=LORA), train=["adapter", "lora"], evaluations=2)
    curves, weights, tokens = {}, {}, {}
    for name, changes in {
        "plain": {"lr": 1e-12},
        "taught": {"lr": 1e-12, "distillation": TAUGHT},
        "learned": {},
        "learned_taught": {"distillation": TAUGHT},
    }.items():
        run = stage(base, **changes)
        model, tokenizer = stages.build_model(run, tiny_data.frames.dim)
        fit, seen = stages.train_stage(run, 0, model, tokenizer, tiny_data, tmp_path / name)
        curves[name] = {(p.split, p.metric, p.step): p.value for p in fit.curve}
        weights[name], tokens[name] = model.adapter.state_dict(), seen.text_tokens
    for step in (3, 6):
        at = ("train", "loss", step)
        assert curves["taught"][at] == pytest.approx(curves["plain"][at], abs=1e-6)
        assert curves["learned_taught"]["train", "kl", step] > 0
    assert {k for k in curves["taught"] if k[0] == "validation"} == {
        k for k in curves["plain"] if k[0] == "validation"
    }
    assert any(not torch.equal(w, weights["learned_taught"][k]) for k, w in weights["learned"].items())
    read = sum(len(tokenizer(u.transcript)["input_ids"]) for u in tiny_data.train)
    assert tokens["learned_taught"] == tokens["learned"] + read  # each of the 24 turns was read once


def test_an_audio_llm_is_taught_by_its_own_language_model(tiny_run, tiny_data, tiny_backbones):
    own = {"adapter": None, "audio_llm": str(tiny_backbones / "audio_llm"), "lora": LORA.model_dump()}
    run = RunConfig.model_validate(tiny_run().model_dump() | own | {"stages": []})
    model, tokenizer = stages.build_model(run, None)
    turns = tiny_data.train[:2]
    examples = asked(tiny_data, turns)
    frames = [np.zeros((5, model.adapter.linear.in_features), np.float16)] * 2
    heard = collate(tokenizer, examples, frames=frames, speech_tokens=model.speech_tokens, with_answer=True)
    read = collate(tokenizer, examples, transcripts=[u.transcript for u in turns], with_answer=True)
    device = model.llm.device
    terms = distillation.loss(model, heard.to(device), read.to(device), 1.0)
    assert all(torch.isfinite(term) and term > 0 for term in terms.values())


def test_what_it_cannot_teach_is_refused(tiny_run):
    plain = tiny_run().stages[0].model_dump() | {"distillation": TAUGHT}
    classifier = ClassifierConfig(alpha=0.2, class_weights=True)
    with pytest.raises(ValueError, match="not both"):
        StageConfig(**plain | {"classifier": classifier})
    with pytest.raises(ValueError, match="the teacher of distillation reads"):
        StageConfig(**plain | {"beside": {"sqit": 4}})
    with pytest.raises(ValueError, match="greater than 0"):
        DistillationConfig(weight=0.0)
    text = tiny_run(lora=LORA).model_dump() | {"adapter": None}
    text["stages"] = [StageConfig(**plain | {"train": ["lora"]}).model_dump()]
    with pytest.raises(ValueError, match="distillation teaches a model that hears"):
        RunConfig.model_validate(text)
