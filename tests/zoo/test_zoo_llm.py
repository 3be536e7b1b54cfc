"""Post-training of llm-mini, on a tiny LLM: it learns, the seed decides, soft reading is another training."""

from __future__ import annotations

import math

import pytest
import torch

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.errors import UserError
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.training import loop
from speechllm_bench.zoo import llm_mini, making, measuring, recipes, skills
from speechllm_bench.zoo.fitting import Course
from speechllm_bench.zoo.recipes import PostTraining, load_recipe

PHASE = PostTraining(
    name="phase", first=0, repeated=0.5, renamed=0.5, rare=0.5, soft=False,
    examples=32, batch_size=8, lr=0.01, warmup_ratio=0.1, weight_decay=0.0, max_grad_norm=1.0, evaluations=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def utterances():
    return call_centre.utterances("zoo", 50)


def trained(tiny_backbones, utterances, folder, phase):
    name = str(tiny_backbones / "llm")
    model, tokenizer = load_llm(name).requires_grad_(True), load_tokenizer(name)
    shares = []
    course = Course(load_recipe("llm-mini"), folder, lambda name, share: shares.append((name, share)))
    fit = llm_mini.post_train(course, phase, model, tokenizer, utterances)
    assert fit.status == "ok" and shares[-1] == ("phase", 1.0)
    return model.get_input_embeddings().weight.detach(), fit


@pytest.mark.parametrize("soft", [False, True])
def test_a_phase_trains_and_the_seed_decides(tiny_backbones, utterances, tmp_path, monkeypatch, soft):
    monkeypatch.setattr(llm_mini, "HELD_OUT_ROWS", 24)
    phase = PHASE.model_copy(update={"soft": soft})
    weights, fit = trained(tiny_backbones, utterances, tmp_path / "a", phase)
    again, _ = trained(tiny_backbones, utterances, tmp_path / "b", phase)
    assert torch.equal(weights, again)
    losses = [p.value for p in fit.curve if p.split == "train" and p.metric == "loss"]
    assert losses[1] < losses[0]
    found = {p.metric for p in fit.curve if p.split == "validation"}
    assert found == {"loss", "slots_exact", "transcription_exact"}


def test_soft_reading_is_another_training(tiny_backbones, utterances, tmp_path, monkeypatch):
    monkeypatch.setattr(llm_mini, "HELD_OUT_ROWS", 24)
    plain, _ = trained(tiny_backbones, utterances, tmp_path / "a", PHASE)
    soft, _ = trained(tiny_backbones, utterances, tmp_path / "b", PHASE.model_copy(update={"soft": True}))
    assert not torch.equal(plain, soft)


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """A tiny recipe of llm-mini-plain, which `train_backbones` then trains into `tmp_path`."""
    monkeypatch.setattr(llm_mini, "HELD_OUT_ROWS", 4)
    monkeypatch.setattr(llm_mini, "TOKENIZER_LINES", 300)
    monkeypatch.setattr(making.paths, "cache", lambda: tmp_path / "cache")
    recipe = load_recipe("llm-mini-plain")
    assert recipe.marked > 0 == load_recipe("llm-mini").marked
    phase = recipe.pre_training.model_copy(update={"examples": 8, "batch_size": 4, "evaluations": 1})
    small = {"utterances": 50, "vocabulary": 400, "hidden_size": 8, "num_hidden_layers": 1}
    small |= {"num_attention_heads": 2, "intermediate_size": 16, "sequence_tokens": 20, "pre_training": phase}
    recipe = recipe.model_copy(update=small)
    monkeypatch.setattr(recipes, "load_recipe", lambda _: recipe)
    monkeypatch.setattr(recipes, "folder", lambda name: tmp_path / name)
    return recipe


def test_a_training_that_is_stored_leaves_no_checkpoint_to_go_on_from(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)  # one a step
    folders = []
    monkeypatch.setattr(making, "save", lambda *_: folders.extend((tmp_path / "cache/zoo").iterdir()))
    making.train_backbones(plain.name, 1)
    assert [f.name for f in folders] == [making._training_digest(plain)] and not folders[0].exists()


def test_other_texts_or_other_numerics_are_another_training(plain, monkeypatch):
    found = [making._training_digest(plain)]
    monkeypatch.setattr(making.runs, "NUMERICS_VERSION", 0)
    found.append(making._training_digest(plain))
    monkeypatch.setattr(making.runs, "file_sha256", lambda path: path.name)
    found.append(making._training_digest(plain))
    monkeypatch.setattr(making.corpora, "recipe", lambda name: {"corpus": name})
    found.append(making._training_digest(plain))
    assert len(set(found)) == 4


def test_a_training_that_diverges_stops_there_and_what_was_stored_stays(plain, tmp_path, monkeypatch):
    loss = llm_mini.language_loss
    monkeypatch.setattr(llm_mini, "language_loss", lambda *some: math.nan * loss(*some))
    old = tmp_path / plain.name / "model.safetensors"
    old.parent.mkdir()
    old.write_text("old")
    with pytest.raises(UserError, match=r"-plain diverged in phase 'pre_training' after 4 examples and was"):
        making.train_backbones(plain.name, 1)
    assert old.read_text() == "old"


def test_a_base_without_post_training_has_no_chat_format_and_its_card_says_what_it_is(plain, monkeypatch):
    recipe = plain
    (folder,) = making.train_backbones(recipe.name, 1)
    assert folder.name == "llm-mini-plain" and load_tokenizer(str(folder)).chat_template is None
    assert load_llm(str(folder)).config.hidden_size == 8
    assert len((folder / "tokenizer.json").read_text("utf-8").splitlines()) == 1

    monkeypatch.setattr(measuring, "TURNS", 4)
    monkeypatch.setattr(skills, "QUESTIONS", 2)
    monkeypatch.setattr(skills, "ROWS", 2)
    monkeypatch.setattr(skills, "ANSWER_TOKENS", 4)
    measuring.evaluate_backbones(recipe.name, 1)
    card = (folder / "README.md").read_text()
    assert "parent of the post-trainings for 2510.19326" in card and "| pre-training | 8 examples" in card
