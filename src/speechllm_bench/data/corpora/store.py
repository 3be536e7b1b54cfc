"""A spoken corpus on disk: a Hugging Face dataset in parquet, a data card, and a record of its origin.

    data/<split>-00000.parquet   one row per utterance: its FLAC bytes and all its fields
    README.md                    the data card
    corpus.json                  recipe, hashes, counts; written last

A corpus's identity (`fingerprint`) depends on its recipe, its utterances and, for synthetic speech, the
versions of espeak-ng and of the synthesis. Hashes of the audio are recorded, but are not part of the
identity, since filters may differ in the last bit between processors.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import cached_property, lru_cache
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from speechllm_bench.data import neural_voices
from speechllm_bench.data.audio import SAMPLE_RATE, decode_flac, encode_flac, to_int16
from speechllm_bench.data.corpora.call_centre import slot_types
from speechllm_bench.data.corpora.corpus_card import data_card, repeated_fills, shared_speakers
from speechllm_bench.data.espeak import espeak_version
from speechllm_bench.data.synthesis import SYNTHESIS_VERSION, speak_all
from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs, sealed
from speechllm_bench.storage.schema import Utterance

_RECORD = "corpus.json"
_ROWS = 64  # rows of a row group, all of which are read to read one utterance's audio

_SPAN = {"start": pa.int32(), "end": pa.int32()}
_FIELDS = {
    "id": pa.string(),
    "split": pa.string(),
    "call_id": pa.string(),
    "turn_index": pa.int32(),
    "domain": pa.string(),
    "company": pa.string(),
    "intent": pa.string(),
    "transcript": pa.string(),
    "slots": {"slot": pa.string(), "value": pa.string(), "canonical": pa.string(), **_SPAN},
    "entities": {"tag": pa.string(), "text": pa.string(), **_SPAN},
    "sentiment": pa.string(),
    "context": {"role": pa.string(), "text": pa.string()},
    "speaker": pa.string(),
}
_VOICE = {
    "accent": pa.string(),
    "variant": pa.string(),
    "rate": pa.int32(),
    "pitch": pa.int32(),
    "snr_db": pa.float64(),
    "seed": pa.int64(),
}
_AUDIO = {"sampling_rate": SAMPLE_RATE, "decode": False, "_type": "Audio"}
_SCHEMA = pa.schema(
    [
        *(pa.field(k, pa.list_(pa.struct(v)) if isinstance(v, dict) else v) for k, v in _FIELDS.items()),
        pa.field("voice", pa.struct(_VOICE)),
        pa.field("gold", pa.list_(pa.string())),
        pa.field("n_samples", pa.int32()),
        pa.field("audio", pa.struct({"bytes": pa.binary(), "path": pa.string()})),
    ],
    # This tells `datasets` that the bytes are encoded audio.
    metadata={"huggingface": json.dumps({"info": {"features": {"audio": _AUDIO}}})},
)


def build_corpus(
    utterances_by_split: dict[str, list[Utterance]],
    folder: Path,
    recipe: dict,
    n_workers: int,
    recording: Callable[[Utterance], np.ndarray] | None = None,
    clips: Path | None = None,
) -> Corpus:
    """Speak every utterance, or read its recording, and write the corpus. On an error `folder` is unchanged.

    recipe: plain JSON of what the utterances were generated from. clips: a folder that stores clean speech,
    for slow voices. Raises UserError for an utterance that is there twice, and as `synthesis.speak_all` or
    `recording` does.
    """
    utterances = list(chain.from_iterable(utterances_by_split.values()))
    (id, n), *_ = Counter(utterance.id for utterance in utterances).most_common(1) or [("", 0)]
    if n > 1:
        raise UserError(f"utterance '{id}' is {n} times in the corpus; correct the corpus's files")
    versions = {} if recording else _versions(utterances)
    if recording:
        bar = tqdm(utterances, "recordings", unit=" utt", mininterval=1)
        spoken: Generator = ((utterance, recording(utterance)) for utterance in bar)
    else:
        spoken = speak_all(utterances, n_workers, clips=clips)
    with runs.whole_folder(folder) as temporary, closing(spoken):
        (temporary / "data").mkdir()
        splits = {}
        for split, utterances in utterances_by_split.items():
            splits[split] = _write_split(temporary, split, islice(spoken, len(utterances)))
        info = _record(recipe, versions, splits)
        runs.write_text(temporary / "README.md", data_card(info, _repeated(recipe, utterances_by_split)))
        files = {c["file"]: runs.file_sha256(temporary / c["file"]) for c in splits.values()}
        sealed.write(temporary / _RECORD, info, files)
    return Corpus.load(folder)


def _repeated(recipe: dict, utterances: dict[str, list[Utterance]]) -> str:
    """Return `repeated_fills` for the call centre, which has open-class slots; else `shared_speakers`."""
    if not str(recipe.get("corpus", "")).startswith("call_centre"):
        return shared_speakers(utterances)
    return repeated_fills(utterances, {name for name, slot in slot_types().items() if slot.open_class})


def _versions(utterances: Iterable[Utterance]) -> dict[str, str | int | None]:
    versions: dict[str, str | int | None] = {"espeak": espeak_version(), "synthesis": SYNTHESIS_VERSION}
    if any(u.voice and neural_voices.is_neural(u.voice) for u in utterances):
        versions |= {name: runs.installed_version(name) for name in neural_voices.PACKAGES}
    return versions


def _record(recipe: dict, versions: dict, splits: dict[str, dict]) -> dict:
    """Return the content of corpus.json. versions: of the synthesis; empty for recorded speech."""
    identity = [recipe, versions, {split: counts["utterances_sha256"] for split, counts in splits.items()}]
    return {
        "fingerprint": runs.digest("spoken corpus", identity),
        "recipe_hash": runs.digest(recipe),
        "recipe": recipe,
        "versions": versions,
        "splits": splits,
    }


def _write_split(folder: Path, split: str, spoken: Iterable[tuple[Utterance, np.ndarray]]) -> dict:
    """Write one parquet file. Return its name, size, counts and hashes."""
    path = folder / "data" / f"{split.replace('-', '_')}-00000.parquet"  # `datasets` allows no hyphen
    of_utterances, of_audio = hashlib.sha256(), hashlib.sha256()
    n_utterances, n_samples, speakers = 0, 0, set()
    spoken = iter(spoken)
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        while batch := list(islice(spoken, _ROWS)):
            rows = []
            for utterance, audio in batch:
                record = utterance.to_json()
                of_utterances.update(_hashed(utterance))
                of_audio.update(to_int16(audio).astype("<i2").tobytes())
                file = {"bytes": encode_flac(audio), "path": f"{utterance.id}.flac"}
                rows.append({**record, "n_samples": len(audio), "audio": file})
                n_samples += len(audio)
                speakers.add(utterance.speaker)
            n_utterances += len(rows)
            writer.write_table(pa.Table.from_pylist(rows, _SCHEMA), row_group_size=_ROWS)
    return {
        "file": str(path.relative_to(folder)),
        "bytes": path.stat().st_size,
        "n_utterances": n_utterances,
        "n_speakers": len(speakers),
        "seconds": round(n_samples / SAMPLE_RATE, 2),
        "utterances_sha256": of_utterances.hexdigest(),
        "audio_sha256": of_audio.hexdigest(),
    }


def _hashed(utterance: Utterance) -> bytes:
    return json.dumps(utterance.hashed(), sort_keys=True).encode() + b"\n"


class Unspoken:
    """A corpus for runs without audio: its utterances and its fingerprint, without files."""

    audio_hashes = None

    def __init__(self, utterances: dict[str, list[Utterance]], recipe: dict, recorded: bool) -> None:
        splits = {}
        for split, of_split in utterances.items():
            found = hashlib.sha256(b"".join(map(_hashed, of_split)))
            splits[split] = {"utterances_sha256": found.hexdigest()}
        self.info = _record(
            recipe, {} if recorded else _versions(chain.from_iterable(utterances.values())), splits
        )
        self.fingerprint = self.info["fingerprint"]
        self.splits = tuple(splits)
        self._utterances = utterances

    def utterances(self, split: str) -> list[Utterance]:
        """Return the utterances of a split, as `Corpus.utterances` does."""
        return list(self._utterances[split])


class Corpus:
    """A corpus on disk. Utterances are read once per split; audio is decoded on access."""

    def __init__(self, folder: Path, info: dict) -> None:
        self.folder = folder
        self.info = info  # corpus.json
        self._utterances = lru_cache(maxsize=None)(self._read_utterances)
        self._file = lru_cache(maxsize=None)(self._open)
        self._row_group = lru_cache(maxsize=8)(self._read_row_group)

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Open the corpus in `folder`. Raises UserError if a file is missing or was changed."""
        return cls(folder, sealed.read(folder / _RECORD, _remedy(folder), stamped=True))

    @property
    def fingerprint(self) -> str:
        return self.info["fingerprint"]

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.info["splits"])

    @cached_property
    def audio_hashes(self) -> dict[str, str]:
        """sha256 of each split's 16-bit samples, in the order of its utterances."""
        return {split: counts["audio_sha256"] for split, counts in self.info["splits"].items()}

    def utterances(self, split: str) -> list[Utterance]:
        """Return the utterances of a split, in the order in which they were generated."""
        return list(self._utterances(split))

    def card(self) -> str:
        """Return the data card, as this code writes it: Markdown with the YAML header of the hub."""
        utterances = {split: self.utterances(split) for split in self.splits}
        return data_card(self.info, _repeated(self.info["recipe"], utterances))

    def audio(self, split: str, index: int) -> np.ndarray:
        """Return the float32 samples (n,) at 16 kHz of the split's utterance `index`."""
        group = self._row_group(split, index // _ROWS)
        try:
            return decode_flac(group[index % _ROWS].as_py())
        except UserError as error:
            raise UserError(
                f"the audio of utterance {index} in {self._path(split)} is damaged ({error}): "
                f"{_remedy(self.folder)}"
            ) from None

    def n_samples(self, split: str) -> np.ndarray:
        """Return the lengths of all the split's utterances, in samples at 16 kHz, without decoding them."""
        return self._read(split, lambda file: file.read(["n_samples"]))["n_samples"].to_numpy()

    def _read_utterances(self, split: str) -> list[Utterance]:
        columns = [*_FIELDS, "voice", "gold"]
        rows = self._read(split, lambda file: file.read(columns).to_pylist())
        return self._read(split, lambda _: [Utterance.from_json(row) for row in rows])

    def _read_row_group(self, split: str, group: int) -> pa.Array:
        table = self._read(split, lambda file: file.read_row_group(group, ["audio.bytes"]))
        return table["audio"].combine_chunks().field("bytes")

    def _open(self, split: str) -> pq.ParquetFile:
        return pq.ParquetFile(self._path(split), memory_map=True)

    def _read(self, split: str, read):
        try:
            return read(self._file(split))
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
            raise UserError(f"{self._path(split)} is corrupt ({error}): {_remedy(self.folder)}") from error

    def _path(self, split: str) -> Path:
        if split not in self.info["splits"]:
            raise UserError(f"{self.folder} has no split '{split}': it has {', '.join(self.splits)}")
        return self.folder / self.info["splits"][split]["file"]


def _remedy(folder: Path) -> str:
    return f"delete the folder {folder} and run again"
