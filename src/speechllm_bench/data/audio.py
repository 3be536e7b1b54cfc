"""Reads and converts audio. Every signal in the suite is mono float32 in [-1, 1] at 16 kHz."""

from __future__ import annotations

import io
import logging
import math
from pathlib import Path

import numpy as np
import soundfile

from speechllm_bench.data import lengths
from speechllm_bench.errors import UserError

SAMPLE_RATE = 16000  # Hz
SILENCE = 1e-4  # a signal with a peak below this counts as silent

RATES = 4_000, 384_000  # Hz; a header outside of them lies, and resampling would take hours

log = logging.getLogger(__name__)


def read_audio(source: Path | str | bytes, channel: int | None = None) -> np.ndarray:
    """Return samples (n,) at 16 kHz of a wav, FLAC or other file that soundfile reads, by path or as bytes.

    `channel` selects one of several channels. They are never mixed, since each may have its own speaker.
    Audio at another rate is resampled, with a warning in the log. Raises UserError if the file is missing,
    unreadable, empty, silent, not as long as its header says, or has several channels and none is selected.
    """
    name = "the audio given" if isinstance(source, bytes) else str(source)
    samples, rate = _decode(source, name)
    n_channels = samples.shape[1]
    if len(samples) == 0:
        raise UserError(f"{name} is empty: it holds no samples; record or export it again")
    if channel is None and n_channels > 1:
        raise UserError(f"{name} has {n_channels} channels: pick one, channel=0 to channel={n_channels - 1}")
    if channel is not None and not 0 <= channel < n_channels:
        raise UserError(f"{name} has no channel {channel}: it has {n_channels}, counted from 0")
    mono = samples[:, channel or 0]
    if not np.isfinite(mono).all():
        raise UserError(f"{name} holds samples that are not numbers: record or export it again")
    if np.abs(mono).max() < SILENCE:
        raise UserError(f"{name} is silent: its peak is below {SILENCE} of full scale; check the recording")
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(
            f"{name} has a sampling rate of {rate} Hz, outside {RATES[0]} to {RATES[1]} Hz; export it again"
        )
    if rate != SAMPLE_RATE:
        log.warning("%s is sampled at %d Hz: it is resampled to %d Hz", name, rate, SAMPLE_RATE)
    return resample(mono, rate, SAMPLE_RATE)


def seconds(file: Path) -> float:
    """Return the length of an audio file in seconds, from its header. Raises UserError if unreadable."""
    try:
        return soundfile.info(file).duration
    except (soundfile.LibsndfileError, RuntimeError):
        return len(read_audio(file)) / SAMPLE_RATE  # its error says what is wrong with the file


def _decode(source: Path | str | bytes, name: str) -> tuple[np.ndarray, int]:
    """Return samples (n, channels) in float32, and their rate in Hz."""
    if not isinstance(source, bytes) and not Path(source).is_file():
        why = "is no file" if Path(source).exists() else "does not exist"
        raise UserError(f"{name} {why}: check the path")
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples = file.read(dtype="float32", always_2d=True)
            log, n, rate = file.extra_info, file.frames, file.samplerate
    # MemoryError: a damaged header may claim more samples than memory can hold.
    except (soundfile.LibsndfileError, RuntimeError, ValueError, MemoryError) as error:
        why = str(error).rpartition(">: ")[2].rstrip(".")  # without the buffer that libsndfile was given
        raise UserError(
            f"{name} is no audio that can be read ({why}): give a wav, FLAC, Ogg or MP3 file"
        ) from error
    if wrong := lengths.fault(data, log, n, samples):
        raise UserError(f"{name} is damaged: {wrong}; fetch or export it again")
    return samples, rate


def resample(audio: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Return `audio` (n,) resampled to `target_rate` (Hz), as float32."""
    common = math.gcd(source_rate, target_rate)
    from scipy.signal import resample_poly  # a slow import, and most commands never resample

    return resample_poly(audio.astype(np.float32), target_rate // common, source_rate // common)


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Return 16-bit samples. Values beyond full scale are clipped."""
    return np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16)


def to_float32(samples: np.ndarray) -> np.ndarray:
    """Return 16-bit samples as float32 in [-1, 1). The conversion is exact, and `to_int16` inverts it."""
    return samples.astype(np.float32) / 32768


def encode_flac(audio: np.ndarray) -> bytes:
    """Return audio (n,) at 16 kHz as the bytes of a 16-bit FLAC file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_int16(audio), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def encode_opus(samples: np.ndarray, rate: int, compression: float) -> bytes:
    """Return int16 samples (n,) as the bytes of an Opus file. compression: libsndfile's scale, 0 to 1."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="OGG", subtype="OPUS", compression_level=compression)
    return buffer.getvalue()


def decode_flac(data: bytes) -> np.ndarray:
    """Return float32 samples (n,) of bytes from `encode_flac`. Raises UserError if they are damaged."""
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"no FLAC that can be read: {str(error).splitlines()[0]}") from None
    if samples.ndim != 1 or rate != SAMPLE_RATE:
        raise UserError(f"a FLAC of {rate} Hz and shape {samples.shape}, not mono at {SAMPLE_RATE} Hz")
    return samples
