"""Neural voices: Kokoro-82M with mixed styles, and Piper's voice `joe`. A forked process speaks them.

A voice's `accent` is its engine and pronunciation (`kokoro-us`, `kokoro-gb`, `piper-us`). Its `variant` has
the shares of Kokoro's styles in tenths, or `joe`, and then the scale of the vocal tract in percent, as in
`jf_alpha:6+jm_kumo:4@96`. `rate` is a percentage of the engine's own speed, and `pitch` a percentage of the
variant's scale. Both engines draw random numbers, so a forked child speaks each utterance.

Sources: hexgrad/Kokoro-82M (Apache-2.0), spoken by kokoro-onnx (MIT); rhasspy/piper-voices en_US joe (CC0),
spoken by piper-tts (GPL-3, a separate dependency). `speechllm-bench fetch small` fetches the weights.
"""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from speechllm_bench.data import forked
from speechllm_bench.data.audio import resample, to_int16
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.schema import Voice

LONGEST_PATH = 140  # bytes of a folder's path; espeak-ng has 160 bytes for folder and file name
RATE = 16000  # Hz, sampling rate of `serve`
VERSION = 2
"""Part of a corpus's identity. Raise it with every change of this module that alters samples."""

FILES = {
    "kokoro": "fetched/kokoro-82m/kokoro.onnx",
    "styles": "fetched/kokoro-82m/voices.npz",
    "piper": "fetched/piper-joe/en_US-joe-medium.onnx",
}
SHA256 = {
    "kokoro": "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
    "styles": "fc663c0f5c64d1f10c7c6daa2323ea20efe1b255a891b0d912d07bf58c529d15",
    "piper": "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
}
LEVEL_DB = -36.0  # level of speech on the line, relative to full scale; a low level makes small test files
STYLES = ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo")
PRONUNCIATIONS = {"us": "en-us", "gb": "en-gb"}
ENGINES = ("kokoro", "piper")
PACKAGES = ("kokoro-onnx", "piper-tts", "onnxruntime")

_LONE_A = re.compile(r"(?<=\b[b-hj-z] )a\b|\ba(?= [b-hj-z]\b)")


def is_neural(voice: Voice) -> bool:
    return voice.accent.partition("-")[0] in ENGINES


def voice_files() -> dict[str, Path]:
    """Return the model files by role. Raises MissingInput if one is not on this machine or has changed."""
    files = {role: Path(paths.backbone(name)) for role, name in FILES.items()}
    for role, file in files.items():
        if not file.is_file() or runs.file_sha256(file) != SHA256[role]:
            what = "has changed" if file.is_file() else "is missing"
            raise MissingInput(
                f"the neural voices are not on this machine ({FILES[role]} {what}); "
                "fetch them with `speechllm-bench fetch small` and start again"
            )
    return files


def speakable(transcript: str) -> str:
    """Return a transcript for the engines. The letter a becomes "ay", since they would read an article."""
    return _LONE_A.sub("ay", transcript) + "."


def parse_variant(variant: str) -> tuple[dict[str, float], float]:
    """Return the shares by style (`joe`: 1) and the vocal tract's scale."""
    mixture, scale = variant.split("@")
    parts = [part.split(":") for part in mixture.split("+")]
    shares = {style: int(tenths) / 10 for style, tenths in parts} if mixture != "joe" else {"joe": 1.0}
    return shares, int(scale) / 100


def serve() -> None:
    """Serve requests with the neural voices (`forked.serve`). Samples are at `RATE`."""
    forked.serve(_Engines)


def _refuse_long_paths() -> None:
    """Raise UserError for a longer path: both engines pass espeak-ng an absolute path, which it truncates."""
    for package in ("espeakng_loader", "piper"):
        found = find_spec(package)
        folder = os.fsencode(Path(found.origin or "" if found else "").parent / "espeak-ng-data")
        if len(folder) > LONGEST_PATH:
            raise UserError(
                f"the neural voices cannot speak from a path of {len(folder)} bytes ({os.fsdecode(folder)}), "
                f"{LONGEST_PATH} at most; move the checkout, or its .venv, to a shorter one"
            )


class _Engines:
    """Both engines, loaded on one thread. A process may call `speak` only once."""

    def __init__(self) -> None:
        files = voice_files()
        try:
            import onnxruntime
            import scipy.signal  # noqa: F401, loaded once here, not in every child
            from kokoro_onnx import Kokoro
            from piper import PiperVoice
        except ImportError as error:
            raise MissingInput(
                f"the neural voices cannot speak ({error}); "
                "install them with `pip install 'speechllm-bench[small]'` and start again"
            ) from None
        _refuse_long_paths()
        onnxruntime.set_seed(0)  # before the sessions, which create the engines' random generators
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # threads do not survive a fork

        def session(role: str):
            return onnxruntime.InferenceSession(files[role], options, providers=["CPUExecutionProvider"])

        self._kokoro = Kokoro.from_session(session("kokoro"), str(files["styles"]))
        self._piper = PiperVoice.load(files["piper"])
        self._piper.session = session("piper")

    def speak(self, transcript: str, voice: Voice) -> bytes:
        """Return 16-bit samples at `RATE`."""
        if not transcript.strip():
            raise UserError("an empty transcript cannot be spoken: give it at least one word")
        engine, _, pronunciation = voice.accent.partition("-")
        shares, scale = parse_variant(voice.variant)
        scale *= voice.pitch / 100
        # Playback at `scale` times the speed simulates a shorter vocal tract and raises the pitch. Speaking
        # slower by the same factor keeps the duration.
        speed = voice.rate / 100 / scale
        say = self._say_kokoro if engine == "kokoro" else self._say_piper
        # Steps of 80 Hz keep the resampling filter short.
        audio, rate = say(speakable(transcript), shares, speed, pronunciation)
        return to_int16(resample(audio, 80 * round(rate * scale / 80), RATE)).tobytes()

    def _say_kokoro(self, text: str, shares: dict[str, float], speed: float, pronunciation: str):
        style = sum(share * self._kokoro.voices[name] for name, share in shares.items())
        return self._kokoro.create(text, voice=style, speed=speed, lang=PRONUNCIATIONS[pronunciation])

    def _say_piper(self, text: str, shares: dict[str, float], speed: float, pronunciation: str):
        import numpy as np
        from piper import SynthesisConfig

        chunks = list(self._piper.synthesize(text, SynthesisConfig(length_scale=1 / speed)))
        return np.concatenate([chunk.audio_float_array for chunk in chunks]), chunks[0].sample_rate


@cache
def recipe() -> dict:
    """Return everything that determines how a text is spoken, as plain JSON. It does not need the weights."""
    return {"neural_voices": VERSION, "weights": SHA256, "espeakng_loader": version("espeakng-loader")}
