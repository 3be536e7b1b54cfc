"""Clean speech kept clip by clip, so that hours of synthesis can be stopped and gone on with.

A clip is named by what was said and by which voice, without the telephone line behind it: corpora of other
sizes, or with other noise, share clips. Clips are FLAC files of the 16-bit samples, so nothing is lost.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from speechllm_bench import runs
from speechllm_bench.schema import Voice


class Clips:
    """The clips of one speech recipe, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, transcript: str, voice: Voice) -> np.ndarray | None:
        """int16 samples; None where the clip is missing or damaged, so that it is spoken again."""
        try:
            return soundfile.read(self._file(transcript, voice), dtype="int16")[0]
        except (OSError, soundfile.LibsndfileError):
            return None

    def keep(self, transcript: str, voice: Voice, samples: np.ndarray, rate: int) -> None:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
        runs.write_bytes(self._file(transcript, voice), buffer.getvalue())

    def has(self, transcript: str, voice: Voice) -> bool:
        return self._file(transcript, voice).is_file()

    def _file(self, transcript: str, voice: Voice) -> Path:
        name = runs.digest(transcript, voice.speaker, voice.rate, voice.pitch)
        return self._folder / name[:2] / f"{name}.flac"
