"""Audio of test turns, where the repository ships it, as Opus files of about 8.5 kbit/s."""

from __future__ import annotations

import io
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import soundfile

from speechllm_bench.data.audio import encode_opus
from speechllm_bench.storage import paths, runs

COMPRESSION = 0.995  # on libsndfile's scale for Opus
MOST_BYTES = 4_000_000


def turns_in_packs(profile: str) -> int:
    """Return the number of turns of a profile that the repository ships."""
    packs = (paths.results(profile) / "turns").glob("*.parquet")
    return sum(pq.read_metadata(pack).num_rows for pack in packs)


def write(profile: str, utterances: Iterable[str], folder: Path) -> dict[str, str]:
    """Write the shipped turns among these ids until they exceed `MOST_BYTES`. Return utterance id -> path."""
    wanted, written, total = set(utterances), {}, 0
    for pack in sorted((paths.results(profile) / "turns").glob("*.parquet")):
        for row in pq.read_table(pack, columns=["id", "flac"]).to_pylist():
            if row["id"] not in wanted or total > MOST_BYTES:
                continue
            digest = sha256(row["flac"] + str(COMPRESSION).encode()).hexdigest()[:16]
            name = f"audio/{profile}/{digest}.ogg"
            if not (folder / name).is_file():
                runs.write_bytes(folder / name, _opus(row["flac"]), lasting=False)
            total += (folder / name).stat().st_size
            written[row["id"]] = name
    return written


def _opus(flac: bytes) -> bytes:
    samples, rate = soundfile.read(io.BytesIO(flac), dtype="int16")
    return encode_opus(samples, rate, COMPRESSION)
