"""Whisper's decoder: begun by its own ids for English, transcription and no timestamps, and greedy."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration
from true_classes import whisper_tokenizer as tokenizer

from speechllm_bench.models import asr
from speechllm_bench.models.asr import decoder_prompt, load_asr, transcribe
from speechllm_bench.models.encoder import log_mel

START = {"many": 50258, "english": 50257}  # of OpenAI's vocabularies
PROMPTS = {"many": [50258, 50259, 50359, 50363], "english": [50257, 50362]}
SUPPRESSED, AT_THE_BEGINNING = [1, 2, 7], [220, 50256]
AUDIO = [np.random.default_rng(i).normal(0, 0.1, n).astype(np.float32) for i, n in enumerate((9000, 24000))]


@pytest.fixture(scope="module", params=START)
def whisper(request, tmp_path_factory):
    """A folder with a tiny random Whisper of OpenAI's vocabulary, and which vocabulary it is."""
    torch.manual_seed(0)
    made, start = tokenizer(request.param == "many"), START[request.param]
    end = made.eos_token_id
    config = WhisperConfig(
        vocab_size=len(made.get_vocab()), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_target_positions=24, pad_token_id=end, bos_token_id=end, eos_token_id=end,
        decoder_start_token_id=start, suppress_tokens=None, begin_suppress_tokens=None, init_std=1.0,
    )  # fmt: skip
    model, folder = WhisperForConditionalGeneration(config), tmp_path_factory.mktemp(request.param)
    known = made.get_vocab()
    tables = {
        "lang_to_id": {"<|en|>": known["<|en|>"], "<|es|>": known["<|es|>"]},
        "task_to_id": {"transcribe": known["<|transcribe|>"], "translate": known["<|translate|>"]},
    }
    model.generation_config = GenerationConfig(
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=start,
        suppress_tokens=SUPPRESSED, begin_suppress_tokens=AT_THE_BEGINNING,
        no_timestamps_token_id=known["<|notimestamps|>"], is_multilingual=request.param == "many",
        **(tables if request.param == "many" else {}),
    )  # fmt: skip
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return request.param, folder


def begun(model, monkeypatch) -> list[list[int]]:
    """The first token ids that the decoder reads in each batch, one row of it."""
    seen, decoder = [], model.get_decoder()
    forward = decoder.forward

    def spy(input_ids=None, **more):
        if input_ids.shape[1] > 1 or not seen:
            seen.append(input_ids[0].tolist())
        return forward(input_ids=input_ids, **more)

    monkeypatch.setattr(decoder, "forward", spy)
    return seen


@pytest.mark.parametrize("padding", ["trimmed", "30s"])
def test_the_decoder_begins_with_the_models_own_ids(whisper, padding, monkeypatch):
    kind, folder = whisper
    model, made = load_asr(str(folder))
    assert decoder_prompt(model) == PROMPTS[kind]
    seen = begun(model, monkeypatch)
    transcribe(model, made, AUDIO, padding)
    assert seen and all(ids == PROMPTS[kind] for ids in seen)


def test_at_30_s_the_transcript_is_that_of_whispers_own_generate(whisper):
    kind, folder = whisper
    mel = torch.stack([log_mel(audio, "30s") for audio in AUDIO])
    theirs = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    told = {"language": "en", "task": "transcribe"} if kind == "many" else {}
    tokens = theirs.generate(mel, max_new_tokens=12, do_sample=False, **told)
    model, made = load_asr(str(folder))
    wanted = [text.strip() for text in made.batch_decode(tokens, skip_special_tokens=True)]
    assert transcribe(model, made, AUDIO, "30s") == wanted and all(wanted)


@pytest.mark.parametrize("padding", ["trimmed", "30s"])
def test_what_whisper_never_says_is_suppressed(whisper, padding):
    """With and without padding; without suppression the random model says it."""
    _, folder = whisper
    model, made = load_asr(str(folder))

    def said() -> list[list[int]]:
        texts = transcribe(model, made, AUDIO, padding, max_new_tokens=8)
        return [made.convert_tokens_to_ids(re.findall(r"w\d+|<[^>]+>", text)) for text in texts]

    before = said()
    first = {ids[0] for ids in before}
    model.generation_config.begin_suppress_tokens = sorted(first)
    assert all(ids and ids[0] not in first for ids in said())
    model.generation_config.suppress_tokens = sorted(set().union(*before))
    assert all(ids and not set(ids) & set().union(*before) for ids in said())


def test_ids_of_a_folder_without_tables_are_the_tokenizers(whisper, tmp_path):
    """Older conversions name no languages and no tasks in their generation settings."""
    kind, folder = whisper
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    model.save_pretrained(tmp_path)
    tokenizer(kind == "many").save_pretrained(tmp_path)
    file = tmp_path / "generation_config.json"
    settings = json.loads(file.read_text())
    for name in ("is_multilingual", "lang_to_id", "task_to_id", "no_timestamps_token_id"):
        settings.pop(name, None)
    file.write_text(json.dumps(settings))
    bare, whole = load_asr(str(tmp_path)), load_asr(str(folder))
    assert decoder_prompt(bare[0]) == PROMPTS[kind]
    assert transcribe(*bare, AUDIO, "30s") == transcribe(*whole, AUDIO, "30s")


@pytest.mark.parametrize("padding", ["trimmed", "30s"])
def test_penalties_of_a_folder_change_nothing(whisper, padding, tmp_path):
    kind, folder = whisper
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    model.save_pretrained(tmp_path)
    tokenizer(kind == "many").save_pretrained(tmp_path)
    file = tmp_path / "generation_config.json"
    odd = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "min_new_tokens": 9, "num_beams": 3}
    file.write_text(json.dumps(json.loads(file.read_text()) | odd))
    assert transcribe(*load_asr(str(tmp_path)), AUDIO, padding) == transcribe(
        *load_asr(str(folder)), AUDIO, padding
    )


@pytest.mark.parametrize("padding", ["trimmed", "30s"])
def test_the_embedded_whisper_begins_with_its_start_token_alone(tiny_backbones, padding, monkeypatch):
    """Which is all that it was trained with."""
    model, made = load_asr(str(tiny_backbones / "whisper"))
    assert decoder_prompt(model) == [model.config.decoder_start_token_id]
    seen = begun(model, monkeypatch)
    transcribe(model, made, AUDIO, padding, max_new_tokens=4)
    assert seen == [[model.config.decoder_start_token_id]]


def test_openais_whispers_hear_silence_behind_short_audio(whisper, tiny_backbones, monkeypatch):
    """Without it they repeat themselves; the embedded one was trained on trimmed audio."""
    heard, states = [], asr.encoder_states

    def spy(encoder, mel):
        heard.append(mel.shape[2] / 100)  # s
        return states(encoder, mel)

    monkeypatch.setattr(asr, "encoder_states", spy)
    for folder in (whisper[1], tiny_backbones / "whisper"):
        transcribe(*load_asr(str(folder)), [*AUDIO, np.zeros(176_000, np.float32)], "trimmed", 3)
    assert heard == [10.24, 11.52, 0.64, 1.92, 11.52]


LOOP = "Smoke comes out my monitor, asset tag 2, 3, 1, 4. "


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LOOP * 12, True),
        (f"{LOOP}{'1, ' * 90}", True),
        (LOOP, False),
        ("For my, for my previous plan, student saver, I switched the family share.", False),
        ("My surname is B, U, T, L, E, R, and my number is 3, 3, 3, 3, 4, 4, 4, 4.", False),
        ("", False),
    ],
)
def test_a_transcript_repeats_itself_by_whispers_own_rule(text, found):
    assert asr.repeats(text) is found


def test_only_turns_whose_transcript_repeats_itself_are_heard_again(whisper, monkeypatch):
    model, made = load_asr(str(whisper[1]))
    first, padded = (transcribe(model, made, AUDIO, padding) for padding in ("trimmed", "30s"))
    assert all(a != b for a, b in zip(first, padded, strict=True))
    assert transcribe(model, made, AUDIO, "trimmed", fallback="30s") == first
    monkeypatch.setattr(asr, "repeats", lambda text: text == first[1])
    assert transcribe(model, made, AUDIO, "trimmed", fallback="30s") == [first[0], padded[1]]
    assert transcribe(model, made, AUDIO, "trimmed") == first


@pytest.mark.parametrize("padding", ["trimmed", "30s"])
def test_whisper_base_understands_digits(real_backbones, bench_data, padding):
    model, made = load_asr(str(real_backbones / "whisper-base"))
    assert decoder_prompt(model) == PROMPTS["many"]

    def spoken(digit: int) -> np.ndarray:
        sound, rate = soundfile.read(bench_data / "fsdd" / f"{digit}_george_0.wav", dtype="float32")
        return resample_poly(np.pad(sound, rate // 7), 16_000, rate).astype(np.float32)

    audio = [np.concatenate([spoken(d) for d in some]) for some in (range(5), range(5, 10))]
    said = [re.sub(r"\D", "", text) for text in transcribe(model, made, audio, padding)]
    assert said == ["01234", "56789"]
