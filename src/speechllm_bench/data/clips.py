"""Stores clean synthetic speech, one file per clip. Long synthesis can be stopped, resumed, and shipped.

The name of a clip depends on its transcript and voice, but not on the telephone channel. So corpora of other
sizes or with other noise share clips. Clips are Opus files of about 18 kbit/s. The corpus always uses the
decoded clip, whether it was spoken just now, earlier or on another machine.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from speechllm_bench.data.audio import encode_opus
from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Utterance, Voice

MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # each byte with its bits reversed
COMPRESSION = 0.96  # on libsndfile's scale for Opus: 18 kbit/s at 16 kHz
WORDS_A_SECOND = 2.8  # speaking rate of the neural voices
SYNTHESIS_COST = 0.37  # core-seconds per second of speech, where Piper speaks one utterance in six
_PACK_BYTES = 10_000_000  # approximate size of the clips in a pack


class Clips:
    """The clips of one speech recipe, in one folder. The folder's name is the recipe's digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, transcript: str, voice: Voice) -> np.ndarray | None:
        """Return int16 samples (n,); None if the clip is missing or damaged and has to be spoken again."""
        try:
            content = self._file(transcript, voice).read_bytes()
            return soundfile.read(io.BytesIO(content), dtype="int16")[0] if is_whole(content) else None
        except (OSError, soundfile.LibsndfileError):
            return None

    def keep(self, transcript: str, voice: Voice, samples: np.ndarray, rate: int) -> np.ndarray:
        runs.write_bytes(self._file(transcript, voice), encode_opus(samples, rate, COMPRESSION))
        return soundfile.read(self._file(transcript, voice), dtype="int16")[0]

    def has(self, transcript: str, voice: Voice) -> bool:
        return self._file(transcript, voice).is_file()

    def synthesis_ahead(self, turns: Iterable[Utterance], n_workers: int) -> str | None:
        """Return a sentence with the time to speak the turns that have no clip; None if all have one."""
        missing = [u for u in turns if u.voice and not self.has(u.transcript, u.voice)]
        if not missing:
            return None
        speech = sum(len(u.transcript.split()) for u in missing) / WORDS_A_SECOND / 3600
        return (
            f"Turns that the neural voices have to speak: {len(missing)} ({speech:.1f} h of speech). They "
            f"take about {speech * SYNTHESIS_COST / n_workers:.1f} h, {n_workers} at a time, on CPUs of "
            "2024, and up to three times as long on older ones. Each turn is kept once it is spoken, so the "
            "synthesis can be stopped."
        )

    def pack(self, spoken: Iterable[tuple[str, Voice]], folder: Path) -> list[Path]:
        """Write the clips of these transcripts and voices to parquet files. UserError if one is missing."""
        packs: list[dict[str, bytes]] = [{}]
        for transcript, voice in spoken:
            file = self._file(transcript, voice)
            if self.read(transcript, voice) is None:
                raise UserError(f'"{transcript}" is not spoken yet; run `speechllm-bench prepare` first')
            if sum(map(len, packs[-1].values())) > _PACK_BYTES:
                packs.append({})
            packs[-1][file.stem] = file.read_bytes()
        written = []
        for i, clips in enumerate(packs):
            hashes = [hashlib.sha256(clip).hexdigest() for clip in clips.values()]
            table = pa.table({"name": list(clips), "sha256": hashes, "opus": list(clips.values())})
            buffer = io.BytesIO()
            pq.write_table(table.replace_schema_metadata({"speech": self._folder.name}), buffer)
            written.append(folder / f"{i}.parquet")
            runs.write_bytes(written[-1], buffer.getvalue())
        return written

    def unpack(self, packs: Iterable[Path]) -> None:
        """Copy those clips from packs of the same speech recipe that are missing or damaged in this folder.

        Raises UserError for a damaged pack.
        """
        for pack in packs:
            for name, opus in clips_in(pack, self._folder.name).items():
                file = self._named(name)
                if not (file.is_file() and is_whole(file.read_bytes())):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(opus)

    def _file(self, transcript: str, voice: Voice) -> Path:
        return self._named(runs.digest(transcript, voice.speaker, voice.rate, voice.pitch))

    def _named(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}.opus"


def clips_in(pack: Path, speech: str | None = None) -> dict[str, bytes]:
    """Return the clips of a pack by name; empty if its speech recipe is not `speech`.

    Raises UserError if the pack is damaged.
    """
    try:
        about = pq.read_schema(pack).metadata or {}
        if speech is not None and about.get(b"speech", b"").decode() != speech:
            return {}
        clips = pq.read_table(pack, columns=["name", "sha256", "opus"]).to_pylist()
        if any(hashlib.sha256(clip["opus"]).hexdigest() != clip["sha256"] for clip in clips):
            raise ValueError("a clip has another hash")
    except (OSError, ValueError, pa.ArrowException) as error:
        told = str(error).partition("\n")[0]
        raise UserError(f"{pack} is damaged ({told}); bring it back with `git checkout`") from None
    return {clip["name"]: clip["opus"] for clip in clips}


def is_whole(ogg: bytes) -> bool:
    """Whether all pages of an Ogg file have valid checksums and the last page is present.

    See RFC 3533, section 6. libsndfile silently drops a damaged page, and with it a second of speech.
    """
    at, last = 0, False
    while at < len(ogg):
        n_segments = ogg[at + 26] if at + 26 < len(ogg) else 0
        end = at + 27 + n_segments + sum(ogg[at + 27 : at + 27 + n_segments])
        page = bytearray(ogg[at:end])
        if page[:4] != b"OggS" or end > len(ogg):
            return False
        stored, page[22:26] = int.from_bytes(page[22:26], "little"), bytes(4)
        if _ogg_crc(page) != stored:
            return False
        at, last = end, bool(page[5] & 4)
    return last


def _ogg_crc(page: bytes | bytearray) -> int:
    """Return Ogg's CRC-32, which starts from 0 with the highest bit first; zlib starts with the lowest."""
    found = zlib.crc32(page.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2)
