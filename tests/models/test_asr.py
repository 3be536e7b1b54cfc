"""What a recogniser's decoder is asked for."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from transformers import GenerationMixin

from speechllm_bench.models.asr import load_asr, transcribe


class _Tokenizer:
    def batch_decode(self, tokens, skip_special_tokens):
        assert skip_special_tokens
        return [" ".join(map(str, row.tolist())) for row in tokens]


@pytest.fixture
def asked(monkeypatch) -> list[dict]:
    """The arguments of each call of `generate`."""
    calls, real = [], GenerationMixin.generate

    def generate(model, **options):
        calls.append(options)
        return real(model, **options)

    monkeypatch.setattr(GenerationMixin, "generate", generate)
    return calls


@pytest.fixture
def model(tiny_backbones, monkeypatch):
    monkeypatch.setattr("speechllm_bench.models.asr.load_tokenizer", lambda name: _Tokenizer())
    model, _ = load_asr(str(tiny_backbones / "whisper"))
    return model


AUDIO = [np.zeros(8000, np.float32), np.ones(8000, np.float32)]


def test_a_whisper_of_many_languages_is_asked_for_english_text_without_timestamps(model, asked):
    settings = model.generation_config
    settings.lang_to_id, settings.task_to_id = {"<|de|>": 2, "<|en|>": 3}, {"translate": 4, "transcribe": 5}
    settings.no_timestamps_token_id = 6
    said = transcribe(model, _Tokenizer(), AUDIO, "trimmed", max_new_tokens=2)
    assert asked[0]["decoder_input_ids"].tolist() == [[1, 3, 5, 6]] * 2
    assert all(text.startswith("1 3 5 6 ") for text in said)


def test_a_whisper_of_one_language_begins_with_its_start_token_alone(model, asked):
    said = transcribe(model, _Tokenizer(), AUDIO, "trimmed", max_new_tokens=2)
    assert "decoder_input_ids" not in asked[0]
    assert all(text.startswith("1 ") and len(text.split()) <= 3 for text in said)


def test_the_bound_is_on_new_tokens(tiny_backbones, tmp_path, monkeypatch):
    """transformers warns at each call of a second bound, as real Whispers bring one."""
    monkeypatch.setattr("speechllm_bench.models.asr.load_tokenizer", lambda name: _Tokenizer())
    shutil.copytree(tiny_backbones / "whisper", tmp_path / "whisper")
    settings = tmp_path / "whisper" / "generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "max_length": 7}))
    model, _ = load_asr(str(tmp_path / "whisper"))
    assert model.generation_config.max_length is None
