"""Stages of a SpeechLLM on the tiny corpus: what is seen, by whom, and what validation leaves alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ADAPTERS
from short_memory import short_of_memory

from speechllm_bench.data import questions
from speechllm_bench.data.annotators import Annotated, Question, stored
from speechllm_bench.data.annotators.labels import train_labels as annotated
from speechllm_bench.errors import UserError
from speechllm_bench.planning import identity
from speechllm_bench.running import preparation
from speechllm_bench.settings.config import AnnotationConfig, LoraConfig, StageConfig
from speechllm_bench.tasks import ner
from speechllm_bench.tasks.trace import Trace
from speechllm_bench.training import schedule, stages

LORA = LoraConfig(rank=2, alpha=8, dropout=0.5)


def train(config, data, folder, index: int = 0):
    model, tokenizer = stages.build_model(config, data.frames.dim)
    fit, seen = stages.train_stage(config, index, model, tokenizer, data, folder)
    return model, fit, seen


@pytest.fixture
def collated(monkeypatch) -> list[tuple[list, dict]]:
    """Every batch that a stage makes: its examples, and what is heard or read of them."""
    seen = []
    collate = stages.collate

    def spy(tokenizer, examples, **rest):
        seen.append((examples, rest))
        return collate(tokenizer, examples, **rest)

    monkeypatch.setattr(stages, "collate", spy)
    return seen


def stage(config, **changes):
    """The config with changes to its one stage."""
    return config.model_copy(update={"stages": [config.stages[0].model_copy(update=changes)]})


def values(fit, split, metric):
    return [p.value for p in fit.curve if (p.split, p.metric) == (split, metric)]


def test_every_variant_trains_on_the_same_examples_in_the_same_order(tiny_run, tiny_data, tmp_path, collated):
    learned = {}
    for adapter in ADAPTERS:
        collated.clear()
        config = stage(tiny_run(adapter), examples=36, decoded_turns=0, evaluations=1)
        _, fit, amounts = train(config, tiny_data, tmp_path / adapter)
        assert fit.status == "ok" and 0 <= amounts.padding_share < 0.5
        hours = sum(tiny_data.frames.n_frames(u.id) for u in tiny_data.train) / 50 / 3600
        assert hours < amounts.speech_hours < 2 * hours  # 36 examples of 24 turns
        assert fit.curve[-1].examples == 36
        assert all(math.isfinite(p.value) for p in fit.curve)
        learned[adapter] = [batch for batch, _ in collated if "/train/" in batch[0].utterance_id]
        assert sum(len(batch) for batch, _ in collated) == 36 + 8  # and the validation examples
    assert all(batches == learned["mlp"] for batches in learned.values())
    asked = [e for batch in learned["mlp"] for e in batch]
    assert len(asked) == 36
    assert {e.utterance_id for e in asked} == {u.id for u in tiny_data.train}
    assert len({(e.utterance_id, e.prompt) for e in asked}) > 24  # the second epoch asks anew


def test_an_annotators_labels_are_learned_in_the_batches_of_gold_and_validated_against_gold(
    tiny_run, tiny_data, tmp_path, collated
):
    learned, validated = {}, {}
    for noise, filtered in ((None, False), (0.0, False), (1.0, False), (1.0, True)):
        annotation = None if noise is None else AnnotationConfig(noise=noise, filtered=filtered)
        changes = {"tasks": {"ner": 1.0}, "annotation": annotation, "decoded_turns": 0, "evaluations": 1}
        collated.clear()
        train(stage(tiny_run(), **changes), tiny_data, tmp_path / f"{noise}-{filtered}")
        seen = [e for batch, _ in collated for e in batch]
        learned[noise, filtered] = [e for e in seen if "/train/" in e.utterance_id]
        validated[noise, filtered] = [e for e in seen if "/validation/" in e.utterance_id]
        labels = annotated(tiny_data.train, annotation, 0) if annotation else {}
        assert all(e.target == ner.target(labels[e.utterance_id]) for e in learned[noise, filtered] if labels)
    gold = learned[None, False]
    assert learned[0.0, False] == gold and any(e.target != "{}" for e in gold)
    for examples in learned.values():
        assert [e.id for e in examples] == [e.id for e in gold]
    targets = [[e.target for e in learned[1.0, filtered]] for filtered in (False, True)]
    assert targets[0] != targets[1] != [e.target for e in gold]
    assert all(examples == validated[None, False] != [] for examples in validated.values())


@pytest.mark.parametrize("filtered", [False, True])
def test_a_stage_on_stored_labels_learns_from_the_turns_that_have_some(
    tiny_run, tiny_data, tmp_path, collated, home, filtered
):
    asked = [
        Question(u, questions.evaluation_example(u, tiny_data.slot_types, "ner")) for u in tiny_data.train[:6]
    ]
    labels = [[("PERSON", "nobody said this")] for _ in asked[:4]] + [[], None]
    name = stored.write_labels(asked, Annotated(labels), "a test")
    annotation = AnnotationConfig(noise=None, filtered=filtered, stored=name)
    changes = {"tasks": {"ner": 1.0}, "annotation": annotation, "decoded_turns": 0, "evaluations": 1}
    # What was labelled is learned, though there be no gold: as LibriSpeech in 2509.04473.
    bare = [replace(u, gold=("transcript",)) for u in tiny_data.train[:3]]
    mixed = replace(tiny_data, train=[*bare, *tiny_data.train[3:]])
    train(stage(tiny_run(), **changes), mixed, tmp_path / "own")
    learned = [e for batch, _ in collated for e in batch if "/train/" in e.utterance_id]
    assert {e.utterance_id for e in learned} == {q.utterance.id for q in asked[:5]}  # one could not be used
    assert len(learned) == tiny_run().stages[0].examples
    assert any("nobody said this" in e.target for e in learned) != filtered
    others = replace(tiny_data, train=tiny_data.train[6:])
    with pytest.raises(UserError, match="are of none of this profile's training turns"):
        train(stage(tiny_run(), **changes), others, tmp_path / "others")


def test_the_adapter_beside_lora_may_learn_at_a_rate_of_its_own(tiny_run, tiny_data, tmp_path):
    """At next to none it stays what it was, while LoRA learns."""
    config = stage(tiny_run(lora=LORA), train=["adapter", "lora"], adapter_lr=1e-12, weight_decay=0.0)
    before, _ = stages.build_model(config, tiny_data.frames.dim)
    model, *_ = train(config, tiny_data, tmp_path)
    old = dict(before.named_parameters())
    moved = {n: (p - old[n]).abs().max().item() for n, p in model.named_parameters() if p.requires_grad}
    assert max(m for n, m in moved.items() if n.startswith("adapter.")) < 1e-8
    assert min(m for n, m in moved.items() if "lora_B" in n) > 1e-6


def test_a_resumed_training_counts_the_padding_of_all_its_batches(tiny_run, tiny_data, tmp_path, monkeypatch):
    config = stage(tiny_run("mlp"), examples=36, decoded_turns=0, evaluations=1)
    _, _, whole = train(config, tiny_data, tmp_path / "whole")

    def stopped():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stages, "_validation", lambda *_: stopped)
        train(config, tiny_data, tmp_path / "stopped")
    _, _, resumed = train(config, tiny_data, tmp_path / "stopped")
    assert resumed.padding_share == whole.padding_share > 0


def test_a_second_epoch_asks_anew(tiny_data):
    asked = {
        questions.training_example(u, tiny_data.slot_types, {"slots": 1.0}, 0, epoch).prompt
        for epoch in range(6)
        for u in tiny_data.train[:1]
    }
    assert len(asked) > 2


def test_batches_are_formed_by_what_every_adapter_shares(tiny_data):
    """Characters, not an adapter's or a tokenizer's own lengths; close to the real positions of speech."""
    example = questions.training_example(tiny_data.train[0], tiny_data.slot_types, {"slots": 1.0}, 0, 0)
    written = len(example.prompt + example.target) / 4
    speech = [schedule.reference_length(example, u) - written for u in tiny_data.train]
    real = [tiny_data.frames.n_frames(u.id) / 8 for u in tiny_data.train]
    assert sum(speech) / sum(real) == pytest.approx(1, abs=0.15)


def test_a_text_llm_sees_the_same_examples_and_reads_gold_transcripts(
    tiny_run, tiny_data, tmp_path, collated
):
    config = stage(tiny_run(lora=LORA), train=["lora"])
    train(config, tiny_data, tmp_path / "speech")
    heard = list(collated)
    collated.clear()
    model, tokenizer = stages.build_model(config.model_copy(update={"adapter": None}), None)
    text = replace(tiny_data, frames=None)
    fit, _ = stages.train_stage(config, 0, model, tokenizer, text, tmp_path / "text")
    assert model.adapter is None and fit.status == "ok" and values(fit, "validation", "f1")
    assert [examples for examples, _ in collated] == [examples for examples, _ in heard]
    said = {u.id: u.transcript for u in (*tiny_data.train, *tiny_data.validation)}
    for examples, rest in collated:
        assert rest["transcripts"] == [said[e.utterance_id] for e in examples] and "frames" not in rest


def test_dropout_is_off_in_validation_and_on_again_after(tiny_run, tiny_data, tmp_path, monkeypatch):
    modes = []
    loss = stages.SpeechLLM.loss

    def spy(self, batch):
        modes.append((self.training, torch.is_grad_enabled(), self.llm.training))
        return loss(self, batch)

    monkeypatch.setattr(stages.SpeechLLM, "loss", spy)
    train(tiny_run(lora=LORA), tiny_data, tmp_path)
    training, validation = (True, True, True), (False, False, False)
    assert modes == 2 * (3 * [training] + 2 * [validation])


@pytest.mark.parametrize("parts", [["adapter"], ["adapter", "lora"]])
def test_validation_does_not_change_training(tiny_run, tiny_data, tmp_path, parts):
    """However often and on whatever is validated, with dropout on, the weights are the same bits."""
    config = stage(tiny_run(lora=LORA), train=parts)
    often, *_ = train(stage(config, evaluations=6, decoded_turns=2), tiny_data, tmp_path / "often")
    once, *_ = train(
        stage(config, evaluations=1, decoded_turns=0, validation_examples=3), tiny_data, tmp_path / "once"
    )
    for (name, one), (_, other) in zip(often.named_parameters(), once.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def test_the_validation_loss_is_that_of_all_targets(tiny_run, tiny_data, tmp_path):
    """The same whatever the batch size: a mean over target tokens."""
    losses = []
    for batch_size in (1, 3, 8):
        config = stage(
            tiny_run(), batch_size=batch_size, lr=1e-12, evaluations=1, decoded_turns=0, examples=2
        )
        _, fit, _ = train(config, tiny_data, tmp_path / str(batch_size))
        losses += values(fit, "validation", "loss")
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-5)


def test_f1_on_the_curve_is_in_range_and_absent_if_nothing_is_decoded(tiny_run, tiny_data, tmp_path):
    _, fit, _ = train(tiny_run(), tiny_data, tmp_path / "a")
    for version in ("f1", "f1_v2"):
        assert len(values(fit, "validation", version)) == 2
        assert all(0 <= v <= 1 for v in values(fit, "validation", version))
    _, fit, _ = train(stage(tiny_run(), decoded_turns=0), tiny_data, tmp_path / "b")
    assert values(fit, "validation", "f1") == []


def test_it_learns(tiny_run, tiny_data, tmp_path):
    config = stage(tiny_run(), examples=288, lr=0.03, decoded_turns=0, evaluations=4)
    _, fit, _ = train(config, tiny_data, tmp_path)
    losses = values(fit, "train", "loss")
    assert losses[-1] < losses[0] - 0.02


def test_both_tasks_are_drawn_by_their_shares(tiny_data):
    tasks = [
        questions.training_example(u, tiny_data.slot_types, {"slots": 0.25, "transcription": 0.75}, 0, e).task
        for e in range(40)
        for u in tiny_data.train
    ]
    assert tasks.count("slots") / len(tasks) == pytest.approx(0.25, abs=0.05)


def asked(config, data, folder, collated):
    """The training examples of a stage, in order, with the frames that were heard of each."""
    collated.clear()
    _, fit, amounts = train(config, data, folder)
    seen = [pair for batch, rest in collated for pair in zip(batch, rest["frames"], strict=True)]
    return [(e, f) for e, f in seen if "/train/" in e.utterance_id], fit, amounts


def test_a_share_of_the_turns_is_the_first_of_them(tiny_run, tiny_data, tmp_path, collated):
    """So a smaller share lies within a larger one."""
    turns = [turn.id for turn in tiny_data.train if "slots" in turn.gold]
    for share in (0.25, 0.5):
        config = stage(tiny_run(), examples=24, decoded_turns=0, evaluations=1, train_share=share)
        pairs, *_ = asked(config, tiny_data, tmp_path / str(share), collated)
        first = set(turns[: math.ceil(share * len(turns))])
        assert len(pairs) == 24 and {e.utterance_id for e, _ in pairs} <= first < set(turns)


def test_again_puts_the_stages_own_questions_once_more(tiny_run, tiny_data, tmp_path, collated):
    """2510.19326: both sets merged, each turn in both modes."""
    modes = {"tasks": {"slots_no_think": 1.0}, "again": "slots_think", "trace_tokens": 8}
    config = stage(tiny_run(), examples=24, decoded_turns=0, evaluations=1, **modes)
    assert config.stages[0].own_examples == 12
    pairs, *_ = asked(config, tiny_data, tmp_path, collated)
    both = {task: [e for e, _ in pairs if e.task == task] for task in ("slots_no_think", "slots_think")}
    turns, again = ([(e.utterance_id, e.asked) for e in some] for some in both.values())
    assert len(turns) == len(set(turns)) == 12 and sorted(turns) == sorted(again)
    assert [e.task for e, _ in pairs][:12] != ["slots_no_think"] * 12  # mixed


def test_validation_asks_for_each_tasks_share_where_the_first_turns_are_of_one_task(
    tiny_run, tiny_data, tmp_path, collated
):
    """A corpus of several sources holds them one behind the other."""
    config = stage(tiny_run(), tasks={"transcription": 0.75, "slots": 0.25}, evaluations=1, decoded_turns=0)
    turns = tiny_data.validation
    one_task = [replace(u, gold=("transcript",)) for u in turns] + [
        replace(u, gold=("slots",)) for u in turns
    ]
    train(config, replace(tiny_data, validation=one_task), tmp_path)
    tasks = [e.task for batch, _ in collated for e in batch if "/validation/" in e.utterance_id]
    n = config.stages[0].validation_examples
    assert tasks.count("transcription") == round(0.75 * n) and tasks.count("slots") == n - round(0.75 * n)


def test_tasks_beside_leave_a_stages_own_examples_what_they_are(tiny_run, tiny_data, tmp_path, collated):
    """Protocol, rule 8: the same slot examples in every variant, exactly as many of each other task."""
    once = {"evaluations": 1, "decoded_turns": 0, "batch_size": 1}
    mixtures = {
        "alone": {"examples": 36},
        "ast": {"examples": 56, "beside": {"transcription": 20}},
        "all": {"examples": 64, "beside": {"transcription": 20, "sit": 8}},
    }
    found, losses = {}, set()
    for name, changes in mixtures.items():
        config = stage(tiny_run(), lr=1e-12, **once | changes)
        pairs, fit, _ = asked(config, tiny_data, tmp_path / name, collated)
        found[name] = [example for example, _ in pairs]
        losses.add(round(values(fit, "validation", "loss")[-1], 4))
    by_task = {
        n: {t: [e for e in some if e.task == t] for t in ("slots", "transcription", "sit")}
        for n, some in found.items()
    }
    assert {n: [len(some) for some in tasks.values()] for n, tasks in by_task.items()} == {
        "alone": [36, 0, 0], "ast": [36, 20, 0], "all": [36, 20, 8]
    }  # fmt: skip

    def key(e):
        return (e.utterance_id, e.prompt)

    for name in ("ast", "all"):
        assert sorted(map(key, by_task[name]["slots"])) == sorted(map(key, found["alone"]))
        places = [i for i, e in enumerate(found[name]) if e.task == "slots"]
        assert places != list(range(36))  # mixed, not one after the other
    assert sorted(map(key, by_task["ast"]["transcription"])) == sorted(
        map(key, by_task["all"]["transcription"])
    )
    assert len(losses) == 1  # validated on the stage's own task
    long = stage(tiny_run(), **mixtures["all"]).stages[0]
    drawn = [
        stages._asked(s, tiny_data.train, 0, 1, np.random.default_rng(0)) for s in (config.stages[0], long)
    ]
    own = stages._asked(
        stage(tiny_run(), examples=36).stages[0], tiny_data.train, 0, 1, np.random.default_rng(0)
    )
    assert all([one for one in some if one[1] == {"slots": 1.0}] == own for some in drawn)


def test_a_spoken_instruction_is_heard_behind_the_turn(tiny_run, tiny_data, tmp_path, collated):
    class Spoken:
        """Frames of any instruction: five of them, all one number."""

        def __getitem__(self, name):
            return np.full((5, tiny_data.frames.dim), len(name), np.float16)

        def n_frames(self, name):
            return 5

    data = replace(tiny_data, instructions=Spoken())
    config = stage(tiny_run(), examples=36, beside={"sqit": 12}, evaluations=1, decoded_turns=0)
    pairs, fit, amounts = asked(config, data, tmp_path / "aloud", collated)
    assert fit.status == "ok" and sum(bool(e.instruction) for e, _ in pairs) == 12
    n_frames = 0
    for example, frames in pairs:
        turn = data.frames[example.utterance_id]
        assert np.array_equal(frames[: len(turn)], turn)
        assert (frames[len(turn) :] == len(example.instruction)).all()
        assert len(frames) == len(turn) + 5 * bool(example.instruction)
        n_frames += len(frames)
    assert amounts.speech_hours == pytest.approx(n_frames / 50 / 3600)


def test_every_form_is_taught_in_the_same_batches(tiny_run, tiny_data, tmp_path, collated):
    taught = []
    for tasks in ({"slots": 1.0}, {"slots_reasoning": 1.0}, {"slots_think": 0.5, "slots_no_think": 0.5}):
        collated.clear()
        config = stage(tiny_run(), tasks=tasks, trace_tokens=8, examples=12, decoded_turns=0, evaluations=1)
        train(config, tiny_data, tmp_path / "+".join(tasks))
        taught.append([[(e.utterance_id, e.asked) for e in batch] for batch, _ in collated])
    assert taught[0] == taught[1] == taught[2] and len(taught[0]) > 3


def test_a_stage_that_names_stored_traces_learns_from_them(tiny_run, tiny_data, tmp_path, collated):
    asked = [questions.evaluation_example(u, tiny_data.slot_types, "slots") for u in tiny_data.train[:5]]
    written = {e.utterance_id: (e, Trace({}, "as it was stored")) for e in asked}
    data = replace(tiny_data, traces=written)
    for named, n in (("a name", 5), (None, 0)):
        collated.clear()
        tasks = {"slots_think": 1.0}
        config = stage(tiny_run(), tasks=tasks, trace_tokens=8, traces=named, decoded_turns=0, evaluations=1)
        _, _, seen = train(config, data, tmp_path / str(named))
        found = [e.utterance_id for batch, _ in collated for e in batch if "as it was stored" in e.target]
        assert len(set(found)) == n and set(found) <= set(written)
        assert seen.stored_traces == len(found)


def test_a_stage_with_traces_decodes_as_far_as_it_says_whatever_the_evaluation(
    tiny_run, tiny_data, tmp_path, monkeypatch
):
    seen = []
    decode = stages.decode

    def spy(model, tokenizer, examples, *rest, max_new_tokens, **more):
        seen.append(({e.task for e in examples}, max_new_tokens))
        return decode(model, tokenizer, examples, *rest, max_new_tokens=max_new_tokens, **more)

    monkeypatch.setattr(stages, "decode", spy)
    thinking = {"tasks": {"slots_reasoning": 1.0}, "decoded_task": "slots_reasoning", "trace_tokens": 9}
    train(stage(tiny_run(), **thinking), tiny_data, tmp_path / "a")
    train(tiny_run(), tiny_data, tmp_path / "b")
    assert seen == 2 * [({"slots_reasoning"}, 9)] + 2 * [({"slots"}, 6)]


def test_adapter_starts_from_the_seed(tiny_run, tiny_data):
    first, same, other = (stages.build_model(tiny_run(seed=s), tiny_data.frames.dim)[0] for s in (0, 0, 1))
    weights = [torch.cat([p.flatten() for p in m.adapter.parameters()]) for m in (first, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_a_stage_that_trains_nothing_is_refused(tiny_run):
    settings = tiny_run().stages[0].model_dump()
    with pytest.raises(ValueError, match="train"):
        StageConfig(**{**settings, "train": []})


def test_an_adapter_stage_is_the_same_with_untrained_lora_and_without(tiny_run, tiny_data, tmp_path):
    """What lets a stage be shared across LoRA on and off, dropout of LoRA's path included."""
    weights = []
    for name, lora in (("off", None), ("on", LORA)):
        config = stage(tiny_run("mlp"), examples=16, decoded_turns=0, evaluations=1)
        model, _, _ = train(config.model_copy(update={"lora": lora}), tiny_data, tmp_path / name)
        weights.append(model.adapter.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize("memory", ["asked for", "short"])
def test_a_batch_in_parts_gives_the_same_numbers_and_is_the_same_run(
    tiny_run, tiny_data, tmp_path, collated, monkeypatch, memory
):
    """Parts hold as many examples, not as many target tokens; where memory is short they are halved.

    Losses after several steps in fp32 agree to 1e-5; gradients of one step are in test_accumulation.py.
    """
    whole = stage(tiny_run(), examples=16, decoded_turns=0, evaluations=2)
    _, expected, _ = train(whole, tiny_data, tmp_path / "whole")
    config = stage(whole, micro_batch=1) if memory == "asked for" else whole
    assert identity._used(config) == identity._used(whole)
    if memory == "short":
        short_of_memory(monkeypatch)
    collated.clear()
    _, found, _ = train(config, tiny_data, tmp_path / "parts")
    sizes = [len(examples) for examples, told in collated if told["with_answer"]]
    assert sizes.count(1 if memory == "asked for" else 2) == 16 // (1 if memory == "asked for" else 2)
    names = [(p.step, p.examples, p.split, p.metric) for p in expected.curve]
    assert [(p.step, p.examples, p.split, p.metric) for p in found.curve] == names
    assert [p.value for p in found.curve] == pytest.approx([p.value for p in expected.curve], rel=1e-5)


def test_a_step_that_is_repeated_counts_its_padding_once(tiny_run, tiny_data, tmp_path, monkeypatch):
    config = stage(tiny_run(), examples=4, decoded_turns=0, evaluations=1)
    _, _, halved = train(stage(config, micro_batch=2), tiny_data, tmp_path / "halved")
    _, _, whole = train(config, tiny_data, tmp_path / "whole")
    short_of_memory(monkeypatch)
    _, _, repeated = train(config, tiny_data, tmp_path / "short")
    assert repeated.padding_share == halved.padding_share != whole.padding_share


def test_turns_begin_elsewhere_each_time_they_are_seen_and_alike_in_parts(
    tiny_run, tiny_data, tmp_path, collated
):
    """Fewer zero frames than `frame_shift`, before a turn in training alone, whatever the parts."""

    def frames_heard(config, folder):
        collated.clear()
        train(config, tiny_data, tmp_path / folder)
        return [frames for _, told in collated for frames in told["frames"]]

    config = stage(tiny_run(), examples=64, decoded_turns=0, frame_shift=8)
    heard = frames_heard(config, "whole")
    validated, trained = heard[:-64], heard[-64:]
    stored = {tiny_data.frames[turn.id].tobytes() for turn in tiny_data.train}
    drawn = []
    for frames in trained:
        n = int(np.flatnonzero(np.abs(frames).sum(axis=1))[0])
        assert frames[n:].tobytes() in stored
        drawn.append(n)
    assert set(drawn) == set(range(8))
    assert validated and all(np.abs(frames[0]).sum() > 0 for frames in validated)
    parts = frames_heard(stage(config, micro_batch=1), "parts")[-64:]
    assert all(np.array_equal(a, b) for a, b in zip(trained, parts, strict=True))


def test_a_stage_that_reads_is_a_text_llms_training_and_leaves_the_adapter(tiny_run, tiny_data, tmp_path):
    hears = stage(tiny_run(lora=LORA), train=["lora"], reads=True)
    fresh, _ = stages.build_model(hears, tiny_data.frames.dim)
    model, fit, seen = train(hears, tiny_data, tmp_path / "hears")
    alone = stage(tiny_run(lora=LORA).model_copy(update={"adapter": None}), train=["lora"])
    reader, _ = stages.build_model(alone, None)
    expected, _ = stages.train_stage(alone, 0, reader, _, replace(tiny_data, frames=None), tmp_path / "reads")
    assert fit.curve == expected.curve and seen.speech_hours == 0
    pairs = zip(fresh.adapter.parameters(), model.adapter.parameters(), strict=True)
    assert all(torch.equal(before, after) for before, after in pairs)
    with pytest.raises(ValueError, match="trains LoRA alone"):
        StageConfig.model_validate(hears.stages[0].model_dump() | {"train": ["adapter", "lora"]})


@pytest.mark.parametrize("hears", ["composite", "audio_llm"])
def test_in_bf16_what_is_frozen_is_kept_so_and_what_learns_in_fp32(
    tiny_run, tiny_data, tiny_backbones, tmp_path, hears
):
    change = {"adapter": None, "audio_llm": str(tiny_backbones / "audio_llm")} if hears == "audio_llm" else {}
    config = stage(tiny_run(lora=LORA), train=["adapter", "lora"], adapter_lr=0.001)
    config = config.model_copy(update=change | {"precision": "bf16"})
    if hears == "audio_llm":
        corpus = preparation.ensure_corpus(config.corpus, n_workers=1)
        tiny_data = replace(tiny_data, frames=preparation.ensure_frames(config, corpus))
    model, _ = stages.build_model(config, tiny_data.frames.dim)
    learning = model.trained_parameters(["adapter", "lora"])
    assert {p.dtype for p in learning.values()} == {torch.float32}
    assert {p.dtype for n, p in model.named_parameters() if n not in learning} == {torch.bfloat16}
    model, fit, _ = train(config, tiny_data, tmp_path / "bf16")
    _, whole, _ = train(config.model_copy(update={"precision": "fp32"}), tiny_data, tmp_path / "fp32")
    assert fit.status == "ok" and fit.autocast and not whole.autocast
    assert values(fit, "validation", "loss") == pytest.approx(values(whole, "validation", "loss"), rel=0.05)
    assert values(fit, "validation", "loss") != values(whole, "validation", "loss")
