"""The frozen encoder: transformers' own numbers at 30 s, and nothing but the audio's own frames kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperModel

from speechllm_bench.errors import UserError
from speechllm_bench.models import encoder as encoders


@pytest.fixture(scope="module")
def encoder(tiny_backbones):
    return encoders.load_encoder(str(tiny_backbones / "whisper"))


def sound(n_samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tone = np.sin(np.arange(n_samples) * 2 * np.pi * 440 / 16_000)
    return (0.1 * tone + 0.02 * rng.standard_normal(n_samples)).astype(np.float32)


def test_computes_in_fp32_though_the_weights_are_stored_in_fp16(encoder):
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_is_frozen_and_in_eval_mode(encoder):
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())


def test_equals_whispers_own_encoder_at_30_s(encoder, tiny_backbones):
    whisper = WhisperModel.from_pretrained(tiny_backbones / "whisper", dtype="float32").eval()
    mel = encoders.log_mel(sound(50_000), "30s")[None]
    with torch.inference_mode():
        theirs = whisper.encoder(mel).last_hidden_state
        ours = encoders.encoder_states(encoder, mel)
    assert ours.shape == (1, 1500, 16)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_log_mel_equals_transformers_feature_extractor():
    audio = sound(70_123)
    theirs = WhisperFeatureExtractor()(audio, sampling_rate=16_000, return_tensors="pt").input_features[0]
    np.testing.assert_allclose(encoders.log_mel(audio, "30s"), theirs, atol=1e-3)


@pytest.mark.parametrize("n_samples", [1, 319, 320, 321, 10_240, 10_241, 50_000])
@pytest.mark.parametrize("padding", ["trimmed", "30s"])
def test_keeps_the_frames_that_the_audio_fills(encoder, n_samples, padding):
    [(index, frames)] = encoders.encode(encoder, [sound(n_samples)], padding)
    assert index == 0
    assert frames.shape == (-(-n_samples // 320), 16)
    assert frames.dtype == np.float16 and np.isfinite(frames).all()


def test_silence_is_added_only_up_to_the_next_064_s():
    assert encoders.padded_samples(10_240, "trimmed") == 10_240
    assert encoders.padded_samples(10_241, "trimmed") == 20_480
    assert encoders.padded_samples(16_000 * 30, "trimmed") == 16_000 * 30  # a multiple would be 30.08 s
    assert encoders.log_mel(sound(10_241), "trimmed").shape == (80, 128)


def test_the_two_paddings_differ_a_little(encoder):
    """If they were equal, the setting would not have reached the encoder."""
    [(_, trimmed)] = encoders.encode(encoder, [sound(40_000)], "trimmed")
    [(_, full)] = encoders.encode(encoder, [sound(40_000)], "30s")
    assert trimmed.shape == full.shape
    assert not np.array_equal(trimmed, full)


@pytest.mark.parametrize("padding", ["trimmed", "30s"])
def test_29_9_s_pass_and_more_than_30_s_is_refused(encoder, padding):
    [(_, frames)] = encoders.encode(encoder, [sound(478_400)], padding)
    assert len(frames) == 1495
    with pytest.raises(UserError, match=r"30\.1 s is longer than Whisper's 30 s"):
        list(encoders.encode(encoder, [sound(481_600)], padding))


def test_in_bf16_frames_are_nearly_the_same(encoder):
    (exact,) = (frames for _, frames in encoders.encode(encoder, [sound(20_000)], "10s"))
    (rounded,) = (frames for _, frames in encoders.encode(encoder, [sound(20_000)], "10s", bf16=True))
    difference = np.linalg.norm(rounded.astype(float) - exact) / np.linalg.norm(exact.astype(float))
    assert 0 < difference < 0.05


def test_company_in_a_batch_does_not_change_frames(encoder):
    audio = [sound(n, seed=n) for n in (9_000, 30_000, 10_000, 5_000, 30_400, 10_240)]
    together = dict(encoders.encode(encoder, audio, "trimmed"))
    assert sorted(together) == list(range(6))
    for i, samples in enumerate(audio):
        [(_, alone)] = encoders.encode(encoder, [samples], "trimmed")
        np.testing.assert_allclose(together[i], alone, atol=2e-3)  # a last bit of fp16


def test_batches_hold_one_length_and_about_the_seconds_asked_for():
    lengths = [5_000] * 7 + [30_000] * 3
    batches = encoders.same_length_batches(lengths, "trimmed", seconds=2.0)
    assert sorted(i for batch in batches for i in batch) == list(range(10))
    assert [len(b) for b in batches] == [3, 3, 1, 1, 1, 1]
