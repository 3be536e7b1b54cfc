"""A store of encoder frames: one memory-mapped fp16 matrix per corpus, with rows by utterance id.

The store does not run the encoder. `frames.bin` contains all frames in sequence, little-endian fp16, (total,
dim). `index.json` contains the number of rows by utterance, the origin of the frames (`key`), and the sha256
of `frames.bin`.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs, sealed

_FRAMES, _INDEX = "frames.bin", "index.json"
_DTYPE = np.dtype("<f2")


class FrameWriter:
    """Writes a complete store, or none if an error occurs.

        with FrameWriter(folder, dim, key) as writer:
            writer.add(utterance_id, frames)

    `key` is plain JSON with the origin of the frames: encoder, padding, corpus.
    """

    def __init__(self, folder: Path, dim: int, key: dict) -> None:
        self._folder, self._dim, self._key = folder, dim, key
        self._n_frames: dict[str, int] = {}
        self._sha256 = hashlib.sha256()

    def __enter__(self) -> FrameWriter:
        self._stack = ExitStack()
        self._temporary = self._stack.enter_context(runs.whole_folder(self._folder))
        self._file = self._stack.enter_context(open(self._temporary / _FRAMES, "wb"))
        return self

    def add(self, utterance_id: str, frames: np.ndarray) -> None:
        """Append the frames (T, dim) of a new utterance.

        Raises ValueError for a wrong shape or a known id, and UserError for values not finite in fp16.
        """
        if frames.ndim != 2 or frames.shape[1] != self._dim:
            raise ValueError(f"frames of {utterance_id} have shape {frames.shape}, not (T, {self._dim})")
        if utterance_id in self._n_frames:
            raise ValueError(f"frames of {utterance_id} are already written")
        with np.errstate(over="ignore"):
            frames = np.ascontiguousarray(frames, _DTYPE)
        if not np.isfinite(frames).all():
            raise UserError(f"frames of {utterance_id} are not finite in 16 bits: check the encoder")
        self._file.write(frames.data)
        self._sha256.update(frames.data)
        self._n_frames[utterance_id] = len(frames)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            index = {
                "key": self._key,
                "dim": self._dim,
                "sha256": self._sha256.hexdigest(),
                "n_frames": self._n_frames,
            }
            sealed.write(self._temporary / _INDEX, index, {})  # the index already has the frames' hash
        self._stack.__exit__(kind, error, trace)


class FrameStore:
    """Frames by utterance id, read from disk on access.

    Opening checks the size of `frames.bin`; `verify` checks its content.
    """

    def __init__(self, folder: Path, index: dict) -> None:
        self.folder, self._index = folder, index
        self.dim = int(index["dim"])
        self.key: dict = index["key"]
        lengths = index["n_frames"]
        stops = np.cumsum(list(lengths.values()), dtype=np.int64).tolist()
        self._rows = {id: slice(stop - n, stop) for (id, n), stop in zip(lengths.items(), stops, strict=True)}
        total = stops[-1] if stops else 0
        path, n_bytes = folder / _FRAMES, total * self.dim * _DTYPE.itemsize
        if not path.is_file():
            raise UserError(f"{path} is missing: {_remedy(folder)}")
        if path.stat().st_size != n_bytes:
            raise UserError(f"{path} has {path.stat().st_size} bytes instead of {n_bytes}: {_remedy(folder)}")
        shape = (total, self.dim)
        self._frames = np.memmap(path, _DTYPE, "r", shape=shape) if total else np.zeros(shape, _DTYPE)

    @classmethod
    def open(cls, folder: Path) -> FrameStore:
        """Open the store in `folder`. Raises UserError if a file is missing, truncated or unreadable."""
        return cls(folder, sealed.read(folder / _INDEX, _remedy(folder)))

    def verify(self, stamped: bool = True) -> None:
        """Raise UserError if the frames' sha256 differs. stamped: see `sealed.known_sha256`."""
        path = self.folder / _FRAMES
        if sealed.known_sha256(path, stamped) != self._index["sha256"]:
            raise UserError(f"{path} is corrupt (its sha256 has changed): {_remedy(self.folder)}")

    def n_frames(self, utterance_id: str) -> int:
        rows = self._rows_of(utterance_id)
        return rows.stop - rows.start

    def __getitem__(self, utterance_id: str) -> np.ndarray:
        """Return a read-only fp16 view (T, dim) of an utterance's frames."""
        return self._frames[self._rows_of(utterance_id)]

    def _rows_of(self, utterance_id: str) -> slice:
        try:
            return self._rows[utterance_id]
        except KeyError:
            raise UserError(
                f"{self.folder} has no frames of utterance {utterance_id}: it was made from another corpus; "
                f"{_remedy(self.folder)}"
            ) from None


def _remedy(folder: Path) -> str:
    return f"delete the folder {folder} and run again"
