"""The classifier in training: labels and weights by hand, a loss of two terms, and nothing left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from speechllm_bench.errors import UserError
from speechllm_bench.models.inputs import collate
from speechllm_bench.settings.config import ClassifierConfig, StageConfig
from speechllm_bench.storage.schema import Entity, Example
from speechllm_bench.training import regulariser, stages


def config(alpha: float = 0.2, class_weights: bool = True) -> ClassifierConfig:
    return ClassifierConfig(alpha=alpha, class_weights=class_weights)


def stage(run, **changes):
    return run.model_copy(update={"stages": [run.stages[0].model_copy(update=changes)]})


@pytest.fixture(scope="module")
def turns(tiny_data):
    """Four turns with labels by hand: a place twice, once with a date; a date alone; nothing."""
    place, when = Entity("PLACE", "rome", 0, 4), Entity("WHEN", "may", 0, 3)
    found = [(place, place), (place, when), (when,), ()]
    moods = ["neutral", "neutral", "neutral", "negative"]
    return [
        replace(u, entities=e, sentiment=mood)
        for u, e, mood in zip(tiny_data.train, found, moods, strict=False)
    ]


@pytest.fixture(scope="module")
def batch(turns, tiny_run, tiny_data):
    model, tokenizer = stages.build_model(tiny_run("pooling"), tiny_data.frames.dim)
    examples = [Example(u.id, u.id, "ner", "caller:<|audio|>\nlist", "{}") for u in turns]
    frames = [tiny_data.frames[u.id] for u in turns]
    made = collate(tokenizer, examples, frames=frames, speech_tokens=model.speech_tokens, with_answer=True)
    return model, made.to(model.llm.device)


def test_labels_are_the_tags_there_are_and_the_sentiment(turns):
    found = regulariser.label_matrix(turns)
    assert found.shape == (4, 10)
    named = [{n for n, has in zip(regulariser.LABELS, row, strict=True) if has} for row in found.tolist()]
    assert named == [{"PLACE", "neutral"}, {"PLACE", "WHEN", "neutral"}, {"WHEN", "neutral"}, {"negative"}]


def test_a_labels_weight_is_all_labels_of_its_kind_over_its_own(turns):
    weights = dict(zip(regulariser.LABELS, regulariser.label_weights(turns).tolist(), strict=True))
    assert weights["PLACE"] == weights["WHEN"] == 4 / 2  # two turns have each, and there are four tags
    assert weights["neutral"] == pytest.approx(4 / 3) and weights["negative"] == 4
    assert weights["LAW"] == 4  # there is none


@pytest.mark.parametrize("alpha", [0.1, 0.4])
def test_the_terms_are_each_loss_times_its_share(batch, turns, alpha):
    model, inputs = batch
    made = [regulariser.Regulariser(config(a, False), turns, 0, model.llm.device) for a in (alpha, 0.5)]
    terms, halves = (one.loss(model, inputs, turns) for one in made)
    assert terms["llm_share_of_loss"].item() == pytest.approx((1 - alpha) * model.loss(inputs).item())
    classified = 2 * halves["classifier_share_of_loss"].item()
    assert terms["classifier_share_of_loss"].item() == pytest.approx(alpha * classified)
    speech = model.speech(inputs)
    logits = made[0].classifier(speech, model.adapter.out_length(inputs.n_frames)).sigmoid()
    wanted = regulariser.label_matrix(turns).to(logits.device)
    by_hand = -(wanted * logits.log() + (1 - wanted) * (1 - logits).log()).mean()
    assert classified == pytest.approx(by_hand.item(), rel=1e-4)


def test_weights_count_the_turns_that_have_the_label(batch, turns):
    model, inputs = batch
    weighted, plain = (
        regulariser.Regulariser(config(0.2, on), turns, 0, model.llm.device).loss(model, inputs, turns)
        for on in (True, False)
    )
    key = "classifier_share_of_loss"
    assert weighted[key] > plain[key]  # every weight is above 1
    assert weighted["llm_share_of_loss"] == plain["llm_share_of_loss"]


def test_its_loss_falls_and_reaches_the_adapter(batch, turns):
    model, inputs = batch
    made = regulariser.Regulariser(config(), turns, 0, model.llm.device)
    trained = made.parameters() | model.trained_parameters(["adapter"])
    optimizer, losses = torch.optim.Adam(trained.values(), lr=0.01), []
    for _ in range(60):
        term = made.loss(model, inputs, turns)["classifier_share_of_loss"]
        term.backward()
        assert all(p.grad.abs().sum() > 0 for p in trained.values())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(term.item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_stage_learns_with_it_and_leaves_it_behind(tiny_run, tiny_data, tmp_path):
    asked = {"tasks": {"ner": 1.0}, "decoded_task": "ner", "evaluations": 1}
    plain, regularised = stage(tiny_run("pooling"), **asked), stage(
        tiny_run("pooling"), **asked, classifier=config()
    )  # fmt: skip
    models, curves = {}, {}
    for name, run in {"plain": plain, "regularised": regularised, "again": regularised}.items():
        model, tokenizer = stages.build_model(run, tiny_data.frames.dim)
        fit, _ = stages.train_stage(run, 0, model, tokenizer, tiny_data, tmp_path / name)
        models[name] = dict(model.named_parameters())
        curves[name] = {(p.split, p.metric): p.value for p in fit.curve}
    assert models["plain"].keys() == models["regularised"].keys()
    assert not torch.equal(models["plain"]["adapter.out.weight"], models["regularised"]["adapter.out.weight"])
    assert torch.equal(models["again"]["adapter.out.weight"], models["regularised"]["adapter.out.weight"])
    learned = {metric for split, metric in curves["regularised"] if split == "train"}
    assert {"llm_share_of_loss", "classifier_share_of_loss"} <= learned and "loss" not in learned
    validated = {metric for split, metric in curves["regularised"] if split == "validation"}
    assert validated == {metric for split, metric in curves["plain"] if split == "validation"}
    assert validated == {"loss", "ner_f1"}


def test_a_stage_that_leaves_the_adapter_alone_has_no_use_for_it(tiny_run):
    settings = tiny_run().stages[0].model_dump() | {"train": ["lora"]}
    with pytest.raises(ValueError, match="classifier regularises the adapter"):
        StageConfig(**settings | {"classifier": config()})


def test_its_parameters_are_counted_once_however_many_stages_have_it(tiny_run):
    plain = tiny_run("pooling").stages[0]
    with_it = plain.model_copy(update={"classifier": config()})
    assert regulariser.n_parameters([plain, plain]) == 0
    once = regulariser.n_parameters([plain, with_it])
    assert once == regulariser.n_parameters([with_it, with_it]) > 10_000


def test_a_classifier_that_has_nothing_to_learn_is_refused(turns):
    silent = [replace(turn, gold=("transcript",)) for turn in turns]
    with pytest.raises(UserError, match="none of its training turns has entities or a sentiment"):
        regulariser.Regulariser(config(), silent, 0, torch.device("cpu"))
    regulariser.Regulariser(config(), [*silent, turns[0]], 0, torch.device("cpu"))
