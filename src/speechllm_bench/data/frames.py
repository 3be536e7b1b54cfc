"""A store of encoder frames: one memory-mapped fp16 matrix per corpus, with rows by utterance id.

The store does not run the encoder. `frames.bin` contains all frames in sequence, little-endian fp16, (total,
dim). `index.json` contains the number of rows by utterance, the origin of the frames (`key`), and the sha256
of `frames.bin`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from types import TracebackType

import numpy as np

from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs, sealed

_FRAMES, _INDEX = "frames.bin", "index.json"
_DTYPE = np.dtype("<f2")


class FrameWriter:
    """Writes a complete store. An interrupted one goes on from its last `checkpoint`, or leaves nothing.

        with FrameWriter(folder, dim, key) as writer:
            writer.add(utterance_id, frames)

    `key` is plain JSON with the origin of the frames: encoder, padding, corpus. One process at a time may
    write a store.
    """

    def __init__(self, folder: Path, dim: int, key: dict) -> None:
        self._folder, self._dim, self._key = folder, dim, key
        self._partial = folder.with_name(f".{folder.name}.partial")
        self._n_frames: dict[str, int] = {}
        self._sha256 = hashlib.sha256()

    def __enter__(self) -> FrameWriter:
        if not self._goes_on():
            runs.remove(self._partial)
            self._partial.mkdir(parents=True)
            self._n_frames, self._sha256 = {}, hashlib.sha256()
        self._file = open(self._partial / _FRAMES, "ab")  # closed in __exit__
        return self

    def __contains__(self, utterance_id: str) -> bool:
        return utterance_id in self._n_frames

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

    def checkpoint(self) -> None:
        """Keep what has been added: a writer of the same key goes on from here if this one is interrupted."""
        self._file.flush()
        os.fsync(self._file.fileno())
        index = {"key": self._key, "dim": self._dim, "sha256": self._sha256.hexdigest()}
        # Without hashes of files: the index already has the frames' hash.
        sealed.write(self._partial / _INDEX, index | {"n_frames": self._n_frames}, {})

    def _goes_on(self) -> bool:
        """Take over the frames of an interrupted writer up to its checkpoint. False if there are none."""
        frames = self._partial / _FRAMES
        try:
            index = sealed.read(self._partial / _INDEX)
            if (index["key"], index["dim"]) != (self._key, self._dim):
                return False
            self._n_frames = dict(index["n_frames"])
            os.truncate(frames, sum(self._n_frames.values()) * self._dim * _DTYPE.itemsize)
            with open(frames, "rb") as file:
                while block := file.read(2**20):
                    self._sha256.update(block)
        except (UserError, OSError, LookupError, TypeError, ValueError):
            return False
        return self._sha256.hexdigest() == index["sha256"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.checkpoint()
        finally:
            with contextlib.suppress(OSError):  # of a full disk, told by what went before
                self._file.close()
            if error is not None and not (self._partial / _INDEX).exists():
                runs.remove(self._partial)
        if error is None:
            with runs.whole_folder(self._folder) as temporary:
                for name in (_FRAMES, _INDEX):
                    os.replace(self._partial / name, temporary / name)
            runs.remove(self._partial)


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
