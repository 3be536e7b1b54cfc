"""Speaks with espeak-ng through its C API, in a small process (`forked.py`).

With most voices, samples depend on earlier utterances, so a forked child speaks each utterance. This module
imports neither numpy nor torch: a fork takes 1 ms in a bare process and 10 ms in one with scipy.

The library and its voices come from the `espeakng-loader` wheel (GPL-3, a separate dependency).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from speechllm_bench.data import forked
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Voice

ESPEAK_RATE = 22050  # Hz, of all espeak-ng voices

# Constants of speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1
_PARAMETER_RATE, _PARAMETER_PITCH = 1, 3
_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def espeak_version() -> str:
    """Return the version of the espeak-ng library, e.g. "1.52.0"."""
    library, _ = _load()
    library.espeak_Info.restype = ctypes.c_char_p
    return library.espeak_Info(None).decode().split()[0]


def serve() -> None:
    """Serve requests with espeak-ng (`forked.serve`). Samples are at `ESPEAK_RATE`."""
    forked.serve(_Espeak)


def _load() -> tuple[ctypes.CDLL, Path]:
    """Return the library and its folder of voices. Raises UserError if it cannot be loaded."""
    try:
        import espeakng_loader

        return ctypes.CDLL(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(
            f"espeak-ng cannot be loaded ({error}): "
            "reinstall it with `pip install --force-reinstall espeakng-loader`"
        ) from error


class _Espeak:
    """The initialised library, in a process of its own. The process may call `speak` only once."""

    def __init__(self) -> None:
        self._library, self._data = _load()
        # This check comes first: an initialised library would keep using the voices that it has.
        if not (self._data / "phontab").is_file() or not self._initialise():
            raise UserError(
                f"espeak-ng finds no usable voices in {self._data}: "
                "reinstall them with `pip install --force-reinstall espeakng-loader`"
            )
        self._library.espeak_ListVoices(None)  # reads the folder once, so that no child has to

    def _initialise(self) -> bool:
        """Initialise the library in the folder of its voices, and return whether that succeeded.

        The library has 160 bytes for this path and cuts a longer one. This process only speaks
        (`forked.serve`), so it changes to that folder and passes the path `.`.
        """
        os.chdir(self._data)
        return self._library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, b".", _DONT_EXIT) == ESPEAK_RATE

    def speak(self, transcript: str, voice: Voice) -> bytes:
        """Return 16-bit samples at `ESPEAK_RATE`. Raises UserError if nothing can be spoken."""
        if not transcript.strip():
            raise UserError("an empty transcript cannot be spoken: give it at least one word")
        self._set_voice(voice)
        parts: list[bytes] = []

        @_SynthCallback
        def collect(samples, n_samples, events):
            if samples and n_samples > 0:
                parts.append(ctypes.string_at(samples, 2 * n_samples))
            return 0

        self._library.espeak_SetSynthCallback(collect)
        text = transcript.encode() + b"\0"
        self._library.espeak_Synth(
            text, ctypes.c_size_t(len(text)), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        self._library.espeak_Synchronize()
        if not parts:
            raise UserError(f'espeak-ng says nothing to "{transcript}": reword it')
        return b"".join(parts)

    def _set_voice(self, voice: Voice) -> None:
        # The library ignores an unknown variant, so it is looked up here.
        known_variant = (self._data / "voices" / "!v" / voice.variant).is_file()
        if not known_variant or self._library.espeak_SetVoiceByName(voice.speaker.encode()) != 0:
            kind, name = ("voice", voice.accent) if known_variant else ("voice variant", voice.variant)
            folder = self._data / ("lang" if known_variant else "voices/!v")
            raise UserError(f'espeak-ng has no {kind} "{name}": those it has are listed in {folder}')
        self._library.espeak_SetParameter(_PARAMETER_RATE, voice.rate, 0)
        self._library.espeak_SetParameter(_PARAMETER_PITCH, voice.pitch, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(voice.seed))
