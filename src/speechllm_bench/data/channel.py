"""Simulates a telephone channel: narrow band, background noise at a given SNR, and G.711 mu-law coding."""

from __future__ import annotations

import functools

import numpy as np
from scipy.fft import irfft, next_fast_len
from scipy.signal import butter, sosfilt

from speechllm_bench.data.audio import SAMPLE_RATE, resample
from speechllm_bench.errors import UserError

TELEPHONE_RATE = 8000  # Hz
BAND = (300.0, 3400.0)  # Hz
ACTIVE_LEVEL_DB = -26.0  # level of active speech relative to full scale, usual for ITU-T test material
ACTIVITY_THRESHOLD_DB = -30.0  # frames further below the loudest one are pauses
FRAME = 160  # samples, 20 ms


def telephone(audio: np.ndarray, snr_db: float, seed: int, level_db: float | None = None) -> np.ndarray:
    """Return `audio` (n,) at 16 kHz after a telephone line: float32 samples at 16 kHz of the same length.

    It is the output of `transmit`, resampled to 16 kHz.
    """
    received = transmit(audio, snr_db, seed, level_db)
    return resample(received, TELEPHONE_RATE, SAMPLE_RATE)[: len(audio)]


def transmit(audio: np.ndarray, snr_db: float, seed: int, level_db: float | None = None) -> np.ndarray:
    """Return the signal on the line for `audio` (16 kHz): samples in [-1, 1] at 8 kHz, exact in 16 bits.

    `seed` alone determines the noise. `snr_db` is the ratio of active speech to noise in the telephone band.
    `level_db` is the level of active speech relative to full scale (None: `ACTIVE_LEVEL_DB`). Raises
    UserError for silence, which has no level.
    """
    if not np.any(audio):
        raise UserError("silence cannot be sent over the telephone: there is no speech to set its level by")
    speech = band_pass(resample(audio, SAMPLE_RATE, TELEPHONE_RATE))
    level_db = ACTIVE_LEVEL_DB if level_db is None else level_db
    speech = speech * 10 ** (level_db / 20) / np.sqrt(active_power(speech))
    noisy = add_noise(speech, snr_db, np.random.default_rng(seed))
    return mu_law_decode(mu_law_encode(noisy))


def band_pass(audio: np.ndarray) -> np.ndarray:
    """Return audio at 8 kHz, filtered to 300 to 3400 Hz."""
    return sosfilt(_filter(BAND, "bandpass"), audio)


@functools.cache
def _filter(cutoff: float | tuple[float, float], kind: str) -> np.ndarray:
    return butter(4, cutoff, kind, fs=TELEPHONE_RATE, output="sos")


def active_power(audio: np.ndarray) -> float:
    """Return the mean square over 20 ms frames with speech. Pauses are left out, so they do not lower it."""
    n_frames = -(-len(audio) // FRAME)
    frames = np.pad(audio.astype(np.float64), (0, n_frames * FRAME - len(audio))).reshape(n_frames, FRAME)
    powers = np.mean(frames**2, axis=1)
    return float(np.mean(powers[powers >= powers.max() * 10 ** (ACTIVITY_THRESHOLD_DB / 10)]))


def add_noise(speech: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Return `speech` (8 kHz) with a drawn mix of white, pink and babble-like noise in the telephone band."""
    n = len(speech)
    kinds = (_unit(rng.standard_normal(n)), _unit(_pink(n, rng)), _unit(_babble(n, rng)))
    noise = band_pass(sum(share * kind for share, kind in zip(rng.dirichlet((1, 1, 1)), kinds, strict=True)))
    return speech + noise * np.sqrt(active_power(speech) / np.mean(noise**2) / 10 ** (snr_db / 10))


def _unit(noise: np.ndarray) -> np.ndarray:
    return noise / np.sqrt(np.mean(noise**2))


def _pink(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n samples of pink noise: its power falls with 1 / frequency."""
    size = next_fast_len(n, real=True)
    real, imaginary = rng.standard_normal((2, size // 2 + 1))
    frequency = np.maximum(np.arange(size // 2 + 1), 1)
    return irfft((real + 1j * imaginary) / np.sqrt(frequency), size)[:n]


def _babble(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n samples like distant voices: noise below 1 kHz, modulated at syllable rates (2 to 6 Hz)."""
    low = sosfilt(_filter(1000.0, "lowpass"), rng.standard_normal(n))
    t = np.arange(n) / TELEPHONE_RATE
    syllables = [np.sin(2 * np.pi * rng.uniform(2, 6) * t + rng.uniform(0, 2 * np.pi)) for _ in range(3)]
    return low * (1 + 0.25 * sum(syllables))


# G.711 mu-law (ITU-T Recommendation G.711, tables 2a and 2b): 14-bit linear, eight segments of sixteen steps.
_BIAS, _LARGEST = 33, 8158


def mu_law_encode(audio: np.ndarray) -> np.ndarray:
    """Return the 8-bit mu-law codes (uint8) of samples in [-1, 1]. Values beyond are clipped."""
    linear = np.rint(np.asarray(audio, np.float64) * 8192).astype(np.int64)
    magnitude = np.minimum(np.abs(linear), _LARGEST) + _BIAS
    segment = np.frexp(magnitude.astype(np.float64))[1] - 6  # floor(log2) - 5
    step = (magnitude >> (segment + 1)) & 0xF
    sign = np.where(linear < 0, 0x80, 0)
    return (~(sign | segment << 4 | step) & 0xFF).astype(np.uint8)


def mu_law_decode(codes: np.ndarray) -> np.ndarray:
    """Return samples in [-1, 1] of 8-bit mu-law codes."""
    bits = ~np.asarray(codes, np.int64) & 0xFF
    segment, step = bits >> 4 & 7, bits & 0xF
    magnitude = ((2 * step + _BIAS) << segment) - _BIAS
    return np.where(bits & 0x80, -magnitude, magnitude) / 8192
