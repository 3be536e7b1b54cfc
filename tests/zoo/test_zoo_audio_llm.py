"""audio-llm-mini's making, on tiny backbones: how it starts, what it reads, that it trains and resumes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.corpora.call_centre.splits import split_named
from speechllm_bench.data.frames import FrameStore, FrameWriter
from speechllm_bench.models import audio_llm as models
from speechllm_bench.models.adapters import n_parameters
from speechllm_bench.models.encoder import load_encoder
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.training import loop
from speechllm_bench.zoo import audio_llm_mini, making, measuring, recipes
from speechllm_bench.zoo.fitting import Item
from speechllm_bench.zoo.recipes import PreTraining, load_recipe
from speechllm_bench.zoo.texts.small_worlds import unseen_words

PHASE = {
    "batch_size": 4,
    "warmup_ratio": 0.1,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "evaluations": 2,
    "lr": 0.01,
}


def build(encoder: str, llm: str, blocks: int):
    hears, reads, tokenizer = load_encoder(encoder), load_llm(llm), load_tokenizer(llm)
    made = audio_llm_mini.processor(tokenizer, hears.config.num_mel_bins)
    return hears, reads, made, audio_llm_mini.untrained(hears, reads, blocks, made, seed=0)


@pytest.fixture(scope="module")
def tiny(tiny_backbones):
    return build(str(tiny_backbones / "whisper"), str(tiny_backbones / "llm"), blocks=3)


@torch.no_grad()
def test_it_starts_by_reading_as_the_llm_does(tiny):
    _, llm, made, model = tiny
    ids = made.tokenizer("caller: i was charged nineteen fifty", return_tensors="pt")["input_ids"]
    ours, theirs = model(input_ids=ids).logits, llm(input_ids=ids).logits
    torch.testing.assert_close(ours[..., : theirs.shape[-1]], theirs, atol=1e-4, rtol=0)
    assert len(model.model.language_model.layers) == 3 * len(llm.model.layers)


@torch.no_grad()
def test_it_starts_by_hearing_as_the_encoder_does(tiny):
    """Whisper's own states, pooled by two before the last normalisation."""
    encoder, _, _, model = tiny
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    last = []
    hook = encoder.layer_norm.register_forward_pre_hook(lambda _, inputs: last.append(inputs[0]))
    encoder(mel)
    hook.remove()
    pooled = encoder.layer_norm((last[0][:, ::2] + last[0][:, 1::2]) / 2)
    ours = models.tower_states(model.model.audio_tower, mel, torch.tensor([1500]))
    torch.testing.assert_close(ours, pooled, atol=1e-4, rtol=0)


@torch.no_grad()
def test_speech_comes_in_about_as_loud_as_text():
    recipe = load_recipe("audio-llm-mini")
    _, _, _, model = build(recipe.encoder, recipe.llm, recipe.blocks)
    assert n_parameters(model) <= 8_000_000
    words = model.get_input_embeddings().weight[:2048]
    noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) * 0.1
    [(_, frames)] = models.encode(model.model.audio_tower.eval(), [noise])
    speech = model.model.multi_modal_projector(torch.from_numpy(frames.astype(np.float32)))
    assert 0.3 < speech.std() / words.std() < 3


def recipe_of(tiny_backbones, **changes):
    phases = [
        PreTraining(name="hearing", tasks={"transcription": 0.5, "repetition": 0.5}, examples=48, **PHASE),
        PreTraining(name="answering", tasks={"extraction": 1.0}, examples=16, **PHASE),
    ]
    tiny = {"encoder": str(tiny_backbones / "whisper"), "llm": str(tiny_backbones / "llm"), "blocks": 2}
    sizes = {"readings": {"short": 12}, "records": 10, "repetitions": 10, "pre_training": phases}
    return load_recipe("audio-llm-mini").model_copy(update=tiny | sizes | changes)


def test_no_corpus_slot_is_asked_for_and_every_voice_is_the_zoo_splits(tiny_backbones):
    recipe = recipe_of(tiny_backbones, readings={"short": 120}, records=150)
    found, voices = audio_llm_mini.items(recipe), split_named("zoo")
    assert {task: len(some) for task, some in found.items()} == {
        "transcription": 120, "extraction": 150, "repetition": 10,
    }  # fmt: skip
    asked = {
        name
        for item in found["extraction"]
        for name in item.example.prompt.split("fill in as json: ")[1].split(", ")
    }
    assert not asked & {slot.replace("_", " ") for slot in call_centre.slot_types()}
    assert not unseen_words() & {word for name in asked for word in name.split()}
    spoken = [item.spoken for some in found.values() for item in some if item.spoken]
    assert len({u.id for u in spoken}) == len(spoken) == 270
    drawn = {voices.voice(random.Random(i)).speaker for i in range(500)}
    assert {u.speaker for u in spoken} <= drawn and {u.split for u in spoken} == {"zoo"}
    assert max(len(u.transcript.split()) for u in spoken) <= 26
    values = [item for item in found["extraction"] if item.example.target != "{}"]
    assert all(item.spoken.transcript == item.text for item in values)
    assert [i.text for i in audio_llm_mini.items(recipe)["extraction"]] == [
        i.text for i in found["extraction"]
    ]


def test_hours_and_tokens_are_those_of_the_examples(tiny, tmp_path):
    tokenizer = tiny[2].tokenizer
    with FrameWriter(tmp_path / "frames", 2, {}) as writer:
        writer.add("said", np.zeros((250, 2)))  # 10 s
    heard = Utterance("said", "zoo", "", 0, "", "", "", "yes", (), (), "", (), "someone")
    example = Example("e", "said", "transcription", "write it down", "yes")
    items = [Item(example, "yes", heard), Item(example, "yes", None)]
    hours, tokens = audio_llm_mini._seen([items, items[:1]], tokenizer, FrameStore.open(tmp_path / "frames"))
    assert hours == pytest.approx(20 / 3600)
    assert tokens == 4 * len(tokenizer("yes")["input_ids"])  # three answers and what was read


def test_a_phase_takes_its_tasks_by_share_and_leaves_what_is_held_out(tiny_backbones, monkeypatch):
    monkeypatch.setattr(audio_llm_mini, "HELD_OUT", 2)
    recipe = recipe_of(tiny_backbones)
    found = audio_llm_mini.items(recipe)
    batches = audio_llm_mini.phase_batches(recipe, recipe.pre_training[0], found)
    kinds = [{item.spoken is None for item in batch} for batch in batches]
    assert all(len(kind) == 1 for kind in kinds) and {len(b) for b in batches} == {4}
    assert sum(kind == {True} for kind in kinds) == 6  # of 12
    taken = {item.example.id for batch in batches for item in batch}
    assert not taken & {item.example.id for some in found.values() for item in some[-2:]}
    assert len(taken) == 10 + 8  # all the others
    assert batches == audio_llm_mini.phase_batches(recipe, recipe.pre_training[0], found)


@pytest.fixture
def trained(tiny_backbones, tmp_path, monkeypatch):
    """`trained(name)`: a folder as `zoo train` leaves it."""
    monkeypatch.setattr(audio_llm_mini, "HELD_OUT", 2)
    monkeypatch.setattr(audio_llm_mini, "ANSWER_TOKENS", 4)
    recipe = recipe_of(tiny_backbones)
    monkeypatch.setattr(recipes, "load_recipe", lambda name: recipe)
    monkeypatch.setattr(making.paths, "cache", lambda: tmp_path / "cache")

    def made(name: str):
        monkeypatch.setattr(recipes, "folder", lambda _: tmp_path / name)
        return making.train_backbones("audio-llm-mini", 1)[0]

    return made


def test_it_trains_and_its_folder_is_one_that_studies_load(trained, tiny, tiny_backbones):
    folder = trained("whole")
    record = runs.read_json(folder / "training.json")
    assert record["status"] == {"hearing": "ok", "answering": "ok"}
    assert record["text_tokens"] > 64
    model, start = models.load_audio_llm(str(folder)), audio_llm_start(tiny_backbones)
    changed = {
        name.split(".")[1] if name.startswith("model.") else "lm_head"
        for (name, p), q in zip(model.named_parameters(), start.parameters(), strict=True)
        if not torch.allclose(p, q, atol=1e-3)
    }
    assert changed == {"language_model", "multi_modal_projector", "lm_head"}  # and the tower stays
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.convert_tokens_to_ids("<|AUDIO|>") == model.config.audio_token_id
    curve = (folder / "curve.csv").read_text()
    for metric in ("transcription_loss", "repetition_exact", "extraction_exact"):
        assert metric in curve
    losses = [
        float(line.rsplit(",", 1)[1]) for line in curve.splitlines() if ",train,loss," in line
    ]  # two points a phase
    assert losses[1] < losses[0]


def test_it_is_measured_from_speech_and_gets_a_card(trained, monkeypatch):
    folder = trained("measured")
    monkeypatch.setattr(measuring, "TURNS", 4)
    assert measuring.evaluate_backbones("audio-llm-mini", 1) == [folder]
    measured = runs.read_json(folder / "evaluation.json")["splits"]
    assert list(measured) == ["validation", "A-test", "B-test", "B-test out-of-domain"]
    assert all({"wer", "f1", "parse_failures"} < set(values) for values in measured.values())
    card = (folder / "README.md").read_text()
    assert "| answering | 16 examples in 4 steps of 4" in card and "| speech heard in training |" in card


def test_without_a_pre_training_it_is_stored_as_it_is_grown(trained, monkeypatch, tiny_backbones):
    fresh = recipe_of(tiny_backbones, pre_training=[], readings={}, records=0, repetitions=0)
    monkeypatch.setattr(recipes, "load_recipe", lambda name: fresh)
    monkeypatch.setattr(audio_llm_mini, "items", lambda _: pytest.fail("made material for nothing"))
    folder = trained("fresh")
    record = runs.read_json(folder / "training.json")
    assert (record["status"], record["speech_hours"], record["text_tokens"]) == ({}, 0, 0)
    found, grown = (
        models.load_audio_llm(str(folder)).state_dict(),
        audio_llm_start(tiny_backbones).state_dict(),
    )
    assert set(found) == set(grown)
    copied = {name for name in grown if "multi_modal_projector" not in name}  # that one is drawn
    assert copied and all(torch.allclose(found[name], grown[name], atol=1e-3) for name in copied)


def test_the_three_audio_llms_differ_in_one_thing_each():
    whole, small, fresh = (load_recipe(f"audio-llm-mini{end}") for end in ("", "-small", "-fresh"))
    assert whole.model_copy(update={"name": small.name, "blocks": small.blocks}) == small
    assert (fresh.blocks, fresh.encoder, fresh.llm, fresh.seed) == (
        whole.blocks, whole.encoder, whole.llm, whole.seed,
    )  # fmt: skip
    assert fresh.pre_training == [] and small.blocks == 1


def audio_llm_start(tiny_backbones):
    return build(str(tiny_backbones / "whisper"), str(tiny_backbones / "llm"), blocks=2)[-1]


def test_a_killed_training_resumes_and_ends_with_the_same_weights(trained, monkeypatch):
    whole = trained("whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    steps, real = [], loop.learning_rate

    def killed(step, *rest):
        steps.append(step)
        if len(steps) == 9:  # of 12 and then 4 steps
            raise KeyboardInterrupt
        return real(step, *rest)

    monkeypatch.setattr(loop, "learning_rate", killed)
    with pytest.raises(KeyboardInterrupt):
        trained("resumed")
    resumed = trained("resumed")
    assert steps == [*range(9), *range(8, 12), *range(4)]
    hashes = [runs.read_json(f / "training.json")["weights_sha256"] for f in (whole, resumed)]
    assert hashes[0] == hashes[1]
