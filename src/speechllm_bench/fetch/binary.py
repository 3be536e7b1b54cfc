"""A reader of little-endian binary files that refuses one that was cut, in one sentence."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from speechllm_bench.errors import UserError


class Binary:
    """Numbers and bytes of an open file, in order. Each read is whole or raises UserError."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = path.stat().st_size

    def number(self, form: str) -> Any:
        """One number in the notation of `struct`: B 1, H 2, I or f 4, Q or d 8 bytes."""
        return struct.unpack("<" + form, self.bytes(struct.calcsize("<" + form)))[0]

    def bytes(self, length: int) -> bytes:
        if length > self._size - self._file.tell():  # asked before memory is taken for it
            raise self.damaged("it ends too early")
        return self._file.read(length)

    def text(self, length: int) -> str:
        try:
            return self.bytes(length).decode()
        except UnicodeDecodeError:
            raise self.damaged("a name in it is not UTF-8") from None

    def position(self) -> int:
        return self._file.tell()

    def go_to(self, position: int) -> None:
        self._file.seek(position)

    def damaged(self, how: str) -> UserError:
        return UserError(f"{self._path.name} is damaged ({how}); delete it and fetch it again")
