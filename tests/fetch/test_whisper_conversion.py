"""A CTranslate2 Whisper becomes a transformers folder that computes the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_whisper import TinyWhisper, write_tiny_whisper

from speechllm_bench.fetch import whisper
from speechllm_bench.fetch.ctranslate2 import read_variables
from speechllm_bench.storage import paths

REAL_HOME = os.environ.get("SPEECHLLM_BENCH_HOME", str(paths.PROJECT))  # before a test's home replaces it


@pytest.fixture(scope="module")
def tiny_whisper(tmp_path_factory) -> TinyWhisper:
    return write_tiny_whisper(tmp_path_factory.mktemp("ctranslate2"))


@pytest.fixture(scope="module")
def folder(tiny_whisper, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    whisper.convert(*tiny_whisper.files, folder)
    return folder


def test_the_logits_are_the_same_to_the_bit(tiny_whisper, folder):
    from transformers import WhisperForConditionalGeneration

    model, told = WhisperForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(told.values()), told
    mel = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(2))
    tokens = torch.tensor([[257, 258, 261, 265, 7], [257, 259, 260, 265, 8]])
    with torch.inference_mode():
        logits = model.eval()(input_features=mel, decoder_input_ids=tokens).logits
        expected = tiny_whisper.model(input_features=mel, decoder_input_ids=tokens).logits
    assert torch.equal(logits, expected)
    assert logits.std() > 0.1


def test_no_value_is_rounded(tiny_whisper, folder):
    from safetensors.numpy import load_file

    stored, expected = load_file(folder / "model.safetensors"), tiny_whisper.model.state_dict()
    assert set(stored) == set(expected) - {"proj_out.weight"}
    assert all(np.array_equal(stored[k].astype(np.float32), expected[k].numpy()) for k in stored)
    assert {value.dtype for value in stored.values()} == {np.dtype(np.float16)}


def test_the_settings_come_from_the_files(folder):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert (config["d_model"], config["encoder_layers"], config["decoder_attention_heads"]) == (16, 2, 2)
    assert (config["encoder_ffn_dim"], config["vocab_size"], config["max_target_positions"]) == (24, 280, 12)
    assert "transformers_version" not in config
    generation = json.loads((folder / "generation_config.json").read_text("utf-8"))
    assert generation["lang_to_id"] == {"<|en|>": 258, "<|de|>": 259}
    assert generation["task_to_id"] == {"transcribe": 261, "translate": 260}
    assert (generation["no_timestamps_token_id"], generation["decoder_start_token_id"]) == (265, 257)
    assert (generation["suppress_tokens"], generation["begin_suppress_tokens"]) == ([1, 2], [5])


def test_it_is_asked_for_english_by_whispers_own_generate(folder):
    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    mel = torch.zeros(1, 80, 3000)
    said = model.generate(
        mel, language="en", task="transcribe", max_new_tokens=3, return_dict_in_generate=True
    )
    assert said["sequences"].shape[0] == 1
    with pytest.raises(ValueError, match="fr"):
        model.generate(mel, language="fr", max_new_tokens=3)


def test_the_tokenizer_is_whispers_and_leaves_out_special_tokens_and_timestamps(folder):
    from transformers import AutoTokenizer, WhisperTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, WhisperTokenizer)
    text = tokenizer("Zürich 42", add_special_tokens=False).input_ids
    spoken = [257, 258, 261, 265, *text, 256]
    assert tokenizer.decode(spoken, skip_special_tokens=True) == "Zürich 42"
    timed = [257, 258, 261, 266, *text, 276, 256]
    assert tokenizer.decode(timed, skip_special_tokens=True) == "Zürich 42"
    assert tokenizer.decode(timed, decode_with_timestamps=True).endswith(
        "<|0.00|>Zürich 42<|0.20|><|endoftext|>"
    )


def test_a_second_conversion_writes_the_same_bytes(tiny_whisper, folder, tmp_path):
    whisper.convert(*tiny_whisper.files, tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in tmp_path.iterdir()}
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_the_layout_is_ctranslate2s(tmp_path):
    """Written out by hand, with the beginning of a real file."""
    file = tmp_path / "model.bin"
    file.write_bytes(
        b"\x06\0\0\0" b"\x0c\0WhisperSpec\0" b"\x03\0\0\0" b"\x02\0\0\0"
        b"\x02\0a\0" b"\x01" b"\x02\0\0\0" b"\x04" b"\x04\0\0\0" b"\x00\x3c\x00\xc0"
        b"\x04\0b/c\0" b"\x00" b"\x02" b"\x02\0\0\0" b"\x08\0"
        b"\x01\0\0\0" b"\x02\0z\0" b"\x02\0a\0"
    )  # fmt: skip
    variables = read_variables(file)
    assert variables["a"].tolist() == variables["z"].tolist() == [1.0, -2.0]
    assert variables["b/c"] == 8 and variables["b/c"].shape == ()


@pytest.mark.parametrize(
    ("clip", "heard"),
    [("0_theo_0", "zero"), ("1_lucas_0", "one"), ("3_lucas_0", "three"), ("8_theo_0", "8")],
)
def test_the_real_one_hears_what_was_said(bench_data, monkeypatch, clip, heard):
    """Clips of the Free Spoken Digit Dataset, 8 kHz; a recogniser may write a digit."""
    import soundfile

    from speechllm_bench.data.audio import resample
    from speechllm_bench.models.asr import load_asr, transcribe

    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", REAL_HOME)
    if not paths.fetched().joinpath("whisper-base/fetched.json").is_file():
        pytest.skip("fetched/whisper-base is missing; `speechllm-bench fetch small` brings it")
    file = bench_data / "fsdd" / f"{clip}.wav"
    samples, rate = soundfile.read(file, dtype="float32")
    model, tokenizer = load_asr("fetched/whisper-base")
    (said,) = transcribe(model, tokenizer, [resample(samples, rate, 16_000)], "30s")
    assert said.lower().strip(" .") == heard
