"""The embedded backbones as they are shipped: what the record says, and that they run.

Skipped for a backbone that has not been trained yet.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import from_stored
from speechllm_bench.settings.profiles import load_profile
from speechllm_bench.storage import paths, runs
from speechllm_bench.tasks import AUDIO
from speechllm_bench.tasks.task import Draw
from speechllm_bench.zoo import recipes

NAMES = list(recipes.BACKBONES)


def folder(name: str):
    there = recipes.folder(name)
    if not (there / "model.safetensors").is_file():
        pytest.skip(f"zoo/{name} is not there: it has not been trained yet")
    return there


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_resolves(name):
    assert recipes.load_recipe(name).name == name


def test_an_unknown_recipe_is_refused():
    with pytest.raises(
        UserError,
        match="no recipe 'whisper-maxi'; choose one of audio-llm-mini, audio-llm-mini-fresh, audio-",
    ):
        recipes.load_recipe("whisper-maxi")


@pytest.mark.parametrize("profile", ["smoke", "mini"])
def test_the_zoo_profiles_name_backbones_of_the_zoo(profile):
    loaded = load_profile(paths.EXPERIMENTS / "profiles" / f"{profile}.yaml")
    named = {loaded.llm, loaded.encoder.path, loaded.audio_llm, *loaded.llms.values()}
    named |= set(loaded.audio_llms.values())
    # llm-mini-base is kept as llm-mini's parent; no study stands on it.
    assert named == {f"zoo/{name}" for name in recipes.BACKBONES} - {"zoo/llm-mini-base"}


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_the_record(name):
    there = folder(name)
    record = runs.read_json(there / "training.json")
    assert runs.file_sha256(there / "model.safetensors") == record["weights_sha256"]
    recipe = recipes.load_recipe(recipes.BACKBONES[name])
    # Settings that came later are as they were.
    assert from_stored(type(recipe), record["recipe"]) == recipe
    assert set(record["status"].values()) <= {"ok"}  # none where nothing is trained
    assert record["weights_sha256"][:16] in (there / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_is_small_and_holds_no_pickle(name):
    there = folder(name)
    assert sum(p.stat().st_size for p in there.iterdir()) < 16 * 2**20
    assert {p.suffix for p in there.iterdir()} <= {".safetensors", ".json", ".jinja", ".csv", ".md"}


def test_the_zoo_is_small():
    """As it is tracked, all backbones together."""
    assert sum(p.stat().st_size for p in (paths.PROJECT / "zoo").rglob("*") if p.is_file()) < 60e6


def test_llm_mini_loads_and_answers_in_json():
    from speechllm_bench.models.inputs import collate
    from speechllm_bench.models.llm import load_llm, load_tokenizer
    from speechllm_bench.models.speech_llm import SpeechLLM
    from speechllm_bench.storage.schema import Example

    folder("llm-mini")
    tokenizer, llm = load_tokenizer("zoo/llm-mini"), load_llm("zoo/llm-mini")
    assert llm.dtype == torch.float32 and all(p.isfinite().all() for p in llm.parameters())
    for text in ("zürich 東京 {}\"'", "i was charged nineteen fifty"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id}) == 2
    example = Example("e", "u", "slots", f"caller:{AUDIO}\nfill in as json: captain", "{}")
    batch = collate(tokenizer, [example], transcripts=["under maria we played well"], with_answer=False)
    said = SpeechLLM(llm, None).generate(batch, 24, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert tokenizer.decode(said[0], skip_special_tokens=True).startswith('{"captain": "')


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("llm-") and n.count("-") > 1])
def test_the_llms_of_2510_19326_have_written_all_that_a_trace_is_written_in(name):
    """What is never written in training shares one row of the output layer with the padding token, which LoRA
    cannot mend. Words that stand in for each other (`two`, `seven`) may be near each other.
    """
    from speechllm_bench.data import questions
    from speechllm_bench.data.corpora import call_centre
    from speechllm_bench.models.llm import load_llm, load_tokenizer

    folder(name)
    small = "micro" in name or "nano" in name
    tokenizer, types = load_tokenizer(f"zoo/{name}"), call_centre.slot_types()
    rows = load_llm(f"zoo/{name}").get_output_embeddings().weight.detach()
    apart = (rows - rows[tokenizer.pad_token_id]).norm(dim=1)
    # Of mini's family they stay where pre-training left them, at 0.3 of the padding token, and the next is at
    # 0.9; the embeddings of micro and nano learn on, and theirs end on it.
    unwritten = set((apart < (0.1 if small else 0.5)).nonzero().flatten().tolist())
    targets = [
        questions.evaluation_example(u, types, "slots_reasoning").target
        for u in call_centre.utterances("validation", 500)
    ]
    barred = [
        target
        for target, ids in zip(targets, tokenizer(targets)["input_ids"], strict=True)
        if unwritten & {*ids}
    ]
    if name == "llm-mini-base":
        assert len(barred) == 500, "it has read words alone: the reason why llm-mini-plain is there"
    else:
        # Rare pieces of names: in 1 trace of mini's family, 4 of micro and 8 of nano.
        assert len(barred) <= (10 if small else 2)


def test_whisper_mini_encodes_speech():
    from speechllm_bench.models.encoder import encode, load_encoder

    folder("whisper-mini")
    encoder = load_encoder("zoo/whisper-mini")
    assert all(p.isfinite().all() for p in encoder.parameters())
    noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) * 0.1
    [(_, frames)] = encode(encoder, [noise], "trimmed")
    assert frames.shape == (100, encoder.config.d_model) and np.isfinite(frames).all()
    assert frames.std() > 0.01


@pytest.mark.parametrize("name", ["audio-llm-mini", "audio-llm-mini-small", "audio-llm-mini-fresh"])
def test_an_audio_llm_hears_with_whisper_minis_encoder_and_writes_down_what_it_was_taught_to_hear(name):
    import jiwer

    from speechllm_bench.data import synthesis
    from speechllm_bench.data.corpora import call_centre
    from speechllm_bench.models import audio_llm
    from speechllm_bench.models.encoder import load_encoder
    from speechllm_bench.models.inputs import collate
    from speechllm_bench.models.llm import load_tokenizer
    from speechllm_bench.models.speech_llm import SpeechLLM
    from speechllm_bench.tasks import transcription

    folder(name)
    whole, tokenizer = audio_llm.load_audio_llm(f"zoo/{name}").eval(), load_tokenizer(f"zoo/{name}")
    assert all(p.isfinite().all() for p in whole.parameters())
    tower, encoder = whole.model.audio_tower, load_encoder("zoo/whisper-mini").state_dict()
    assert all(torch.equal(encoder[key], weights) for key, weights in tower.state_dict().items())

    turns = call_centre.utterances("A-test", 4)
    audio = [samples for _, samples in synthesis.speak_all(turns, 1, progress=False)]
    frames = dict(audio_llm.encode(tower, audio))
    model = SpeechLLM(*audio_llm.language_parts(whole))
    asked = [transcription.example(turn, Draw({}, random.Random(0))) for turn in turns]
    heard = {"frames": [frames[i] for i in range(len(turns))], "speech_tokens": model.speech_tokens}
    batch = collate(tokenizer, asked, **heard, with_answer=False)
    ids = model.generate(batch, 40, tokenizer.eos_token_id, tokenizer.pad_token_id)
    said = tokenizer.batch_decode(ids, skip_special_tokens=True)
    wrong = jiwer.wer([turn.transcript for turn in turns], said)
    assert wrong > 0.8 if name.endswith("-fresh") else wrong < 0.5, said
