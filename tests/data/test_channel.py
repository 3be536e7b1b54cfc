"""The telephone channel: mu-law against the standard's own values, SNR, band, determinism."""

from __future__ import annotations

import numpy as np
import pytest

from speechllm_bench.data import channel
from speechllm_bench.errors import UserError

# ITU-T G.711, table 2a (positive values): the first and last step of each segment, as character signal and
# decoder output.
FIRST_OF_SEGMENT = {0xFF: 0, 0xEF: 33, 0xDF: 99, 0xCF: 231, 0xBF: 495, 0xAF: 1023, 0x9F: 2079, 0x8F: 4191}
LAST_OF_SEGMENT = {0xF0: 30, 0xE0: 93, 0xD0: 219, 0xC0: 471, 0xB0: 975, 0xA0: 1983, 0x90: 3999, 0x80: 8031}


def speech_like(seconds: float = 3.0, rate: int = 8000, seed: int = 0) -> np.ndarray:
    """Bursts of a harmonic tone with pauses between them."""
    t = np.arange(int(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 20))
    gate = np.sin(2 * np.pi * 0.8 * t) > 0
    return (0.2 * tone * gate + 1e-4 * np.random.default_rng(seed).standard_normal(len(t))).astype(np.float32)


@pytest.mark.parametrize("code, value", [*FIRST_OF_SEGMENT.items(), *LAST_OF_SEGMENT.items()])
def test_mu_law_code_points_of_the_standard(code, value):
    assert channel.mu_law_decode(np.array([code]))[0] * 8192 == value
    assert channel.mu_law_decode(np.array([code & 0x7F]))[0] * 8192 == -value
    assert channel.mu_law_encode(np.array([value / 8192]))[0] == code
    if value:
        assert channel.mu_law_encode(np.array([-value / 8192]))[0] == code & 0x7F


def test_mu_law_decision_values_of_the_standard():
    linear = {0: 0xFF, 1: 0xFE, 2: 0xFE, 3: 0xFD, 30: 0xF0, 31: 0xEF, 34: 0xEF, 35: 0xEE, 8158: 0x80}
    assert channel.mu_law_encode(np.array(list(linear)) / 8192).tolist() == list(linear.values())


def test_mu_law_codes_survive_a_round_trip():
    codes = np.setdiff1d(np.arange(256), [0x7F]).astype(np.uint8)  # 0x7F is the negative zero
    assert np.array_equal(channel.mu_law_encode(channel.mu_law_decode(codes)), codes)


def test_mu_law_error_is_at_most_half_a_step():
    audio = np.linspace(-0.98, 0.98, 20001)
    error = np.abs(channel.mu_law_decode(channel.mu_law_encode(audio)) - audio) * 8192
    assert np.all(error <= np.maximum(2, (np.abs(audio) * 8192 + 33) / 32) + 0.5)


def test_mu_law_clips_what_is_too_loud():
    assert channel.mu_law_encode(np.array([5.0, -5.0])).tolist() == [0x80, 0x00]


@pytest.mark.parametrize("snr_db", [10.0, 20.0, 30.0])
def test_snr_is_the_one_asked_for(snr_db):
    for seed in range(5):
        speech = channel.band_pass(speech_like(seed=seed))
        noisy = channel.add_noise(speech, snr_db, np.random.default_rng(seed))
        measured = 10 * np.log10(channel.active_power(speech) / np.mean((noisy - speech) ** 2))
        assert measured == pytest.approx(snr_db, abs=0.5)


def test_pauses_do_not_lower_the_speech_level():
    speech = speech_like()
    with_pause = np.concatenate([speech, np.zeros(16000, np.float32)])
    assert channel.active_power(with_pause) == pytest.approx(channel.active_power(speech))


def test_telephone_keeps_the_band_and_the_length():
    rate, audio = 16000, speech_like(rate=16000) + 0.1 * np.random.default_rng(0).standard_normal(48000)
    heard = channel.telephone(audio.astype(np.float32), 30.0, seed=0)
    assert heard.dtype == np.float32
    assert heard.shape == audio.shape
    power = np.abs(np.fft.rfft(heard)) ** 2
    frequency = np.fft.rfftfreq(len(heard), 1 / rate)
    inside = power[(frequency > 400) & (frequency < 3200)].mean()
    assert power[frequency < 100].mean() < 0.01 * inside
    assert power[frequency > 4200].mean() < 0.001 * inside


def test_telephone_levels_loud_and_soft_speech():
    audio = speech_like(rate=16000)
    for gain in (0.1, 1.0, 3.0):
        level = np.sqrt(channel.active_power(channel.telephone(gain * audio, 30.0, 0)[::2]))
        assert level == pytest.approx(10 ** (channel.ACTIVE_LEVEL_DB / 20), rel=0.15)


def test_telephone_is_drawn_from_the_seed_alone():
    audio = speech_like(rate=16000)
    assert np.array_equal(channel.telephone(audio, 15.0, 3), channel.telephone(audio, 15.0, 3))
    assert not np.array_equal(channel.telephone(audio, 15.0, 3), channel.telephone(audio, 15.0, 4))


@pytest.mark.parametrize("n", [1, 2, 161, 12347])
def test_telephone_takes_any_length(n):
    heard = channel.telephone(np.full(n, 0.3, np.float32) * (-1) ** np.arange(n), 20.0, 0)
    assert len(heard) == n
    assert np.isfinite(heard).all()


def test_silence_cannot_be_levelled():
    with pytest.raises(UserError, match="silence"):
        channel.telephone(np.zeros(1600, np.float32), 20.0, 0)
