"""The CTC warm start: an adapter learns to say tokens, without the LLM, and resumes to the last bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from speechllm_bench.errors import UserError
from speechllm_bench.models import ctc
from speechllm_bench.models.adapters import mean_norm
from speechllm_bench.planning import identity
from speechllm_bench.running import jobs
from speechllm_bench.settings.config import (
    AnnotationConfig,
    ClassifierConfig,
    DistillationConfig,
    LoraConfig,
    RunConfig,
    StageConfig,
)
from speechllm_bench.storage import paths, runs
from speechllm_bench.training import loop, stages
from speechllm_bench.training.ctc_stage import WarmStart, padding

WARM = {"name": "warm_start", "tasks": {"transcription": 1.0}, "objective": "ctc", "evaluations": 1}
LORA = LoraConfig(rank=2, alpha=8, dropout=0.0)


@pytest.fixture
def warm_run(tiny_run):
    """`warm_run(adapter, **changes)`: a config whose one stage is a warm start."""

    def run(adapter: str = "mlp", **changes) -> RunConfig:
        plain = tiny_run(adapter)
        own = plain.adapter.model_copy(update={"scaled": True})
        stage = plain.stages[0].model_copy(update=WARM | changes)
        return RunConfig.model_validate(
            plain.model_copy(update={"adapter": own, "stages": [stage]}).model_dump()
        )

    return run


@pytest.fixture
def short_data(tiny_data):
    """The tiny corpus with the first letters of each transcript: its tokenizer writes letters, and there are
    more of them than speech tokens.
    """
    train, validation = (
        [replace(u, transcript=u.transcript[:6]) for u in turns]
        for turns in (tiny_data.train, tiny_data.validation)
    )
    return replace(tiny_data, train=train, validation=validation)


@pytest.fixture
def few(tiny_data):
    """Four turns that are short, to train and to validate on."""
    turns = [replace(u, transcript=text) for u, text in zip(tiny_data.train, ("city", "at", "was", "the"))]
    return replace(tiny_data, train=turns, validation=turns)


def train(config, data, folder):
    model, tokenizer = stages.build_model(config, data.frames.dim)
    fit, seen = stages.train_stage(config, 0, model, tokenizer, data, folder)
    return model, fit, seen


def values(fit, split, metric):
    return [p.value for p in fit.curve if (p.split, p.metric) == (split, metric)]


def test_it_learns_to_transcribe_a_handful_of_turns_without_the_llm(warm_run, few, tmp_path, monkeypatch):
    monkeypatch.setattr(stages.SpeechLLM, "answer_logits", lambda *a: pytest.fail("the LLM was asked"))
    monkeypatch.setattr(stages.SpeechLLM, "generate", lambda *a: pytest.fail("the LLM was asked"))
    config = warm_run(examples=1200, lr=0.03, evaluations=4, validation_examples=4, decoded_turns=4)
    model, fit, seen = train(config, few, tmp_path)
    assert values(fit, "train", "loss")[-1] < 0.3 < 1 < values(fit, "train", "loss")[0]
    assert values(fit, "validation", "loss")[-1] < 0.3 and values(fit, "validation", "wer")[-1] == 0
    assert {p.metric for p in fit.curve if p.split == "validation"} == {"loss", "wer"}
    assert seen.left_out == {"train": 0, "validation": 0} and seen.speech_hours > 0
    assert 0 <= seen.padding_share < 0.5
    # What it leaves beside the adapter says the same later.
    head = ctc.CtcHead(model.llm.get_input_embeddings().weight, seen.ctc_head["tokens"].tolist())
    with torch.no_grad():
        head.blank.copy_(seen.ctc_head["blank"])
        head.log_scale.copy_(seen.ctc_head["log_scale"])
    _, tokenizer = stages.build_model(config, few.frames.dim)
    heard = [few.frames[turn.id] for turn in few.train]
    assert ctc.transcribe(model, head, tokenizer, heard, 2) == ["city", "at", "was", "the"]


def test_only_the_adapter_and_the_head_learn(warm_run, short_data, tmp_path):
    config = warm_run()
    before, _ = stages.build_model(config, short_data.frames.dim)
    model, _, seen = train(config, short_data, tmp_path)
    old = dict(before.named_parameters())
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, old[name])}
    assert moved and all(name.startswith("adapter.") for name in moved) and old.keys() == dict(
        model.named_parameters()
    ).keys()  # fmt: skip
    assert set(seen.ctc_head) == {"blank", "log_scale", "tokens"}


@pytest.mark.parametrize("adapter", ["cnn", "linear", "mlp", "transformer", "pooling"])
def test_outputs_have_the_mean_norm_of_the_llms_embeddings(warm_run, tiny_data, adapter):
    config = warm_run(adapter)
    model, _ = stages.build_model(config, tiny_data.frames.dim)
    embeddings = model.llm.get_input_embeddings().weight
    expected = embeddings.detach().norm(dim=1).mean().item()
    assert mean_norm(embeddings) == pytest.approx(expected, rel=1e-5)
    out = model.adapter(torch.randn(2, 40, 16), torch.tensor([40, 40]))
    assert out.shape[1] == model.adapter.out_length(40)
    torch.testing.assert_close(out.norm(dim=-1), torch.full(out.shape[:2], expected), rtol=1e-5, atol=0)
    plain = config.adapter.model_copy(update={"scaled": None})
    unscaled, _ = stages.build_model(
        config.model_copy(update={"adapter": plain, "stages": []}), tiny_data.frames.dim
    )
    frames = torch.randn(1, 24, 16)
    raw = unscaled.adapter(frames, torch.tensor([24]))
    same = model.adapter(frames, torch.tensor([24]))  # of the same weights: the same directions
    torch.testing.assert_close(torch.nn.functional.normalize(raw, dim=-1) * expected, same)


def test_lora_changes_nothing_of_it(warm_run, short_data, tmp_path):
    config = warm_run()
    with_lora = config.model_copy(update={"lora": LORA})
    assert identity.stage_digest(config, 0) == identity.stage_digest(with_lora, 0)
    (one, fit, _), (other, again, _) = (
        train(c, short_data, tmp_path / str(i)) for i, c in enumerate((config, with_lora))
    )
    assert fit.curve == again.curve
    assert all(torch.equal(a, b) for a, b in zip(one.adapter.parameters(), other.adapter.parameters()))


def test_killed_and_resumed_it_ends_with_the_same_numbers_to_the_last_bit(
    warm_run, short_data, tmp_path, monkeypatch
):
    config = warm_run(frame_dropout=0.3, evaluations=3)
    expected, fit, seen = train(config, short_data, tmp_path / "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    loss, left = WarmStart.loss, iter(range(3))

    def killed(self, *heard):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return loss(self, *heard)

    with monkeypatch.context() as patch:
        patch.setattr(WarmStart, "loss", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, short_data, tmp_path / "cut")
    stored = loop.load_file(tmp_path / "cut" / "weights.safetensors")
    assert {"ctc_head.blank", "ctc_head.log_scale"} < set(stored)
    model, again, end = train(config, short_data, tmp_path / "cut")
    assert again.curve == fit.curve and [p.step for p in again.clock] == [2, 4, 6]
    assert all(torch.equal(a, b) for a, b in zip(expected.adapter.parameters(), model.adapter.parameters()))
    assert all(torch.equal(value, end.ctc_head[name]) for name, value in seen.ctc_head.items())


def test_validation_does_not_change_training(warm_run, short_data, tmp_path):
    changes = (
        {"evaluations": 6, "decoded_turns": 2},
        {"evaluations": 1, "decoded_turns": 0, "validation_examples": 3},
    )
    often, once = (
        train(warm_run(frame_dropout=0.2, **change), short_data, tmp_path / str(i))[0]
        for i, change in enumerate(changes)
    )
    assert all(torch.equal(a, b) for a, b in zip(often.adapter.parameters(), once.adapter.parameters()))


def test_dropout_of_frames_is_for_training_alone(warm_run, short_data, tmp_path):
    tiny = {"lr": 1e-12, "evaluations": 1}
    plain, dropped = (
        train(warm_run(frame_dropout=p, **tiny), short_data, tmp_path / str(p))[1] for p in (None, 0.5)
    )
    assert values(plain, "validation", "loss") == pytest.approx(values(dropped, "validation", "loss"))
    assert values(plain, "train", "loss") != pytest.approx(values(dropped, "train", "loss"), rel=1e-4)


def test_turns_that_ctc_cannot_align_or_spell_are_counted_and_not_learned(warm_run, few, tiny_data, tmp_path):
    long = replace(few.train[0], transcript="at the café " * 60)
    foreign = replace(tiny_data.validation[0], transcript="zzz")
    data = replace(few, train=[*few.train[1:], long], validation=[*few.validation[1:], long, foreign])
    config = warm_run(examples=8, validation_examples=9, decoded_turns=9)
    _, fit, seen = train(config, data, tmp_path)
    assert seen.left_out == {"train": 1, "validation": 2}
    assert fit.curve[-1].examples == 8 and fit.status == "ok" and values(fit, "validation", "wer")
    with pytest.raises(UserError, match="none of the training turns has as many speech tokens"):
        train(config, replace(data, train=[long]), tmp_path / "none")


def test_padding_is_counted_in_frames(tiny_data):
    frames = [torch.zeros(n, 16).numpy() for n in (3, 5, 10)]
    assert padding(frames) == (12, 30)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": {"slots": 1.0}}, "learns the task transcription alone, got ['slots']"),
        ({"beside": {"sit": 4}}, "learns the task transcription alone, got ['sit', 'transcription']"),
        ({"train": ["adapter", "lora"]}, "trains the adapter alone, got train: ['adapter', 'lora']"),
        ({"classifier": ClassifierConfig(alpha=0.2, class_weights=True)}, "goes without classifier"),
        ({"distillation": DistillationConfig(weight=0.5)}, "goes without distillation"),
        ({"described": 0.5}, "goes without described"),
        ({"annotation": AnnotationConfig(noise=0.0, filtered=False)}, "does not train on the task ner"),
        ({"decoded_task": "slots"}, "decodes transcripts, not decoded_task: slots"),
        ({"objective": None, "frame_dropout": 0.1}, "frame_dropout is for stages with objective: ctc"),
    ],
)  # fmt: skip
def test_what_a_warm_start_cannot_have_is_refused_in_a_sentence(warm_run, changes, told):
    settings = warm_run().stages[0].model_dump()
    with pytest.raises(ValueError) as error:
        StageConfig.model_validate(settings | changes)
    assert told in str(error.value)


def test_a_warm_start_is_of_a_scaled_adapter_of_a_composite(warm_run):
    whole = warm_run().model_dump()
    plain = whole["adapter"] | {"scaled": None}
    with pytest.raises(ValueError, match="objective: ctc needs an adapter whose outputs.*scaled: true"):
        RunConfig.model_validate(whole | {"adapter": plain})
    with pytest.raises(ValueError, match="objective: ctc starts an untrained adapter; an audio LLM"):
        RunConfig.model_validate(whole | {"adapter": None, "audio_llm": "a"})
    with pytest.raises(ValueError, match="adapter is null for this variant"):
        RunConfig.model_validate(whole | {"adapter": None})


def test_runs_share_it_whatever_comes_after_and_its_head_is_kept(warm_run, tiny_run, tiny_data, monkeypatch):
    ids = ctc.token_ids
    monkeypatch.setattr(ctc, "token_ids", lambda tokenizer, text: ids(tokenizer, text)[:12])
    slots = tiny_run().stages[0]
    config = warm_run().model_copy(update={"stages": [warm_run().stages[0], slots]})
    other = config.model_copy(update={"stages": [warm_run().stages[0], slots.model_copy(update={"lr": 0.5})]})
    assert identity.stage_digest(config, 0) == identity.stage_digest(other, 0)
    assert identity.stage_digest(config, 1) != identity.stage_digest(other, 1)
    dropped = warm_run(frame_dropout=0.1)
    assert identity.stage_digest(config, 0) != identity.stage_digest(dropped, 0)
    folder = jobs.execute(config, "warm", lambda phase, share: None)
    record = runs.read_json(folder / "run.json")
    stage = paths.results("warm") / "stages" / record["stages"][0]
    assert (stage / "ctc_head.safetensors").is_file()
    told = runs.read_json(stage / "stage.json")
    assert told["left_out"]["train"] > 0  # of random letters there are more tokens than the audio has room
    curve = [line.split(",") for line in (folder / "curve.csv").read_text().splitlines()]
    seconds = [float(value) for name, *_, metric, value in curve if metric == "seconds"]
    assert len(seconds) == 3 and seconds == sorted(seconds)
    assert [line[0] for line in curve if line[4] == "seconds"] == ["warm_start", "slots", "slots"]
    assert curve[-1][2] == str(2 * slots.examples)
