"""Test turns that the repository ships, so that numbers can be verified without synthesis.

Each split has one parquet file with utterance ids, and each turn as a FLAC file of the telephone signal
(8 kHz, 16 bits). The transcripts come from the grammar, and a hash shows whether they are the spoken ones.
The files are in `results/<profile>/turns/`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from speechllm_bench.data import corpora, neural_voices
from speechllm_bench.data.audio import SAMPLE_RATE, resample, to_float32, to_int16
from speechllm_bench.data.channel import TELEPHONE_RATE, transmit
from speechllm_bench.data.clips import Clips
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings.config import CorpusConfig
from speechllm_bench.storage import runs, sealed
from speechllm_bench.storage.schema import Utterance

RECORD = "turns.json"  # written last, with the hashes of the files
BRING_BACK = "bring it back with `git checkout`"


def write(corpus: CorpusConfig, splits: list[str], clips: Clips, folder: Path) -> None:
    """Write the turns of these splits from their clips. Raises MissingInput if one is not spoken yet."""
    for split in splits:
        utterances = corpora.utterances(corpus)[split]
        spoken = [_spoken(u, clips) for u in utterances]
        sizes, payloads = [n for n, _ in spoken], [flac for _, flac in spoken]
        table = {"id": [u.id for u in utterances], "n_samples": sizes, "flac": payloads}
        metadata = {"utterances": texts_digest(utterances), "recipe": json.dumps(corpora.recipe(corpus.name))}
        buffer = io.BytesIO()
        pq.write_table(pa.table(table).replace_schema_metadata(metadata), buffer, compression="none")
        runs.write_bytes(folder / f"{split}.parquet", buffer.getvalue())
    about = {"corpus": corpus.name, "splits": splits}
    sealed.write(folder / RECORD, about, sealed.present(*(folder / f"{split}.parquet" for split in splits)))


def shipped_utterances(corpus: CorpusConfig, folder: Path) -> dict[str, list[Utterance]]:
    """Return the utterances of every split that `folder` has turns of.

    Raises UserError if the turns are damaged or of another corpus, and MissingInput if there are none.
    """
    if not any(folder.glob("*.parquet")):
        raise MissingInput(f"no test turns are shipped in {folder}; `make` the profile itself")
    sealed.read(folder / RECORD, BRING_BACK, stamped=True)
    found = {}
    for split, utterances in corpora.utterances(corpus).items():
        file = folder / f"{split}.parquet"
        if not file.is_file():
            continue
        known = pq.read_schema(file).metadata or {}
        if known.get(b"utterances", b"").decode() != texts_digest(utterances):
            raise UserError(
                f"{file} holds other turns than the corpus {corpus.name} has today; {BRING_BACK}, or check "
                "out the commit that wrote it"
            )
        found[split] = utterances
    return found


def recording(folder: Path) -> Callable[[Utterance], np.ndarray]:
    """Return a function that reads an utterance's float32 samples at 16 kHz from the shipped turns."""
    turns: dict[str, dict] = {}

    def read(utterance: Utterance) -> np.ndarray:
        if utterance.id not in turns:
            rows = pq.read_table(folder / f"{utterance.split}.parquet").to_pylist()
            turns.update({row["id"]: row for row in rows})
        turn = turns[utterance.id]
        samples = soundfile.read(io.BytesIO(turn["flac"]), dtype="int16")[0]
        heard = resample(to_float32(samples), TELEPHONE_RATE, SAMPLE_RATE)[: turn["n_samples"]]
        return to_float32(to_int16(heard))  # rounded to 16 bits, as in a spoken corpus

    return read


def texts_digest(utterances: list[Utterance]) -> str:
    return runs.digest([u.hashed() for u in utterances])


def _spoken(utterance: Utterance, clips: Clips) -> tuple[int, bytes]:
    """Return a turn's number of samples at 16 kHz, and the FLAC file of the telephone signal."""
    voice = utterance.voice
    clean = clips.read(utterance.transcript, voice) if voice else None
    if voice is None or clean is None:
        raise MissingInput(
            f"turn {utterance.id} has not been spoken yet; run `speechllm-bench prepare` first"
        )
    line = transmit(to_float32(clean), voice.snr_db, voice.seed, neural_voices.LEVEL_DB)
    buffer = io.BytesIO()
    soundfile.write(buffer, to_int16(line), TELEPHONE_RATE, format="FLAC", subtype="PCM_16")
    return len(clean), buffer.getvalue()
