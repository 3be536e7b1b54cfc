"""Reading audio: what is refused, in which words, and what is resampled."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from speechllm_bench.data import audio
from speechllm_bench.errors import UserError


def tone(rate: int, seconds: float = 0.5, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def wav(samples: np.ndarray, rate: int = 16000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def test_a_wav_comes_back_as_it_was(tmp_path, caplog):
    samples = tone(16000)
    path = tmp_path / "tone.wav"
    path.write_bytes(wav(samples))
    for source in (path, str(path), path.read_bytes()):
        read = audio.read_audio(source)
        assert read.dtype == np.float32
        assert np.array_equal(read, samples)
    assert not caplog.records


@pytest.mark.parametrize("rate", [1, 500_000])
def test_a_rate_that_speech_does_not_have_is_refused_before_it_is_resampled(rate):
    with pytest.raises(UserError, match=f"has a sampling rate of {rate} Hz, outside 4000 to 384000 Hz"):
        audio.read_audio(wav(tone(16000), rate))


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_another_rate_is_resampled_and_said(rate, caplog):
    read = audio.read_audio(wav(tone(rate), rate))
    assert f"{rate} Hz" in caplog.text
    assert len(read) == pytest.approx(8000, abs=1)
    inner = slice(500, 7500)
    assert np.allclose(read[inner], tone(16000)[inner], atol=0.01)


def test_no_channel_is_lost_unasked():
    left, right = tone(16000), tone(16000, hertz=300.0)
    stereo = wav(np.stack([left, right], axis=1))
    with pytest.raises(UserError, match=r"2 channels.*channel=0 to channel=1"):
        audio.read_audio(stereo)
    assert np.array_equal(audio.read_audio(stereo, channel=0), left)
    assert np.array_equal(audio.read_audio(stereo, channel=1), right)
    with pytest.raises(UserError, match="no channel 2"):
        audio.read_audio(stereo, channel=2)


@pytest.mark.parametrize(
    "samples, complaint",
    [
        (np.zeros(0, np.float32), "is empty"),
        (np.zeros(1600, np.float32), "is silent"),
        (np.full(1600, 5e-5, np.float32), "is silent"),
        (np.full(1600, np.nan, np.float32), "not numbers"),
    ],
)
def test_what_holds_no_speech_is_refused(samples, complaint, tmp_path):
    path = tmp_path / "bad.wav"
    path.write_bytes(wav(samples))
    with pytest.raises(UserError, match=f"bad.wav.*{complaint}"):
        audio.read_audio(path)
    assert path.exists()


def test_missing_and_unreadable_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.wav does not exist"):
        audio.read_audio(tmp_path / "nowhere.wav")
    for content in (b"", b"no audio at all", wav(tone(16000))[:20]):
        with pytest.raises(UserError, match="no audio that can be read"):
            audio.read_audio(content)


def test_flac_keeps_16_bits_to_the_last():
    samples = np.random.default_rng(0).integers(-32768, 32768, 5000).astype(np.int16)
    decoded = audio.decode_flac(audio.encode_flac(audio.to_float32(samples)))
    assert np.array_equal(audio.to_int16(decoded), samples)


def test_too_loud_is_clipped_not_wrapped():
    assert audio.to_int16(np.array([2.0, -2.0])).tolist() == [32767, -32768]


def test_recorded_digits_at_8_khz(bench_data, caplog):
    recordings = sorted(bench_data.glob("fsdd/**/*.wav"))
    assert recordings
    for path in recordings[:10]:
        seconds = soundfile.info(path).duration
        assert len(audio.read_audio(path)) == pytest.approx(seconds * 16000, abs=2)
    assert "8000 Hz" in caplog.text
