"""A reader of little-endian binary files. A truncated file raises UserError."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from speechllm_bench.errors import UserError


class Binary:
    """Reads numbers and bytes of an open file in order. An incomplete read raises UserError."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = path.stat().st_size

    def number(self, form: str) -> Any:
        """Return one number in the notation of `struct`: B 1, H 2, I or f 4, Q or d 8 bytes."""
        return struct.unpack("<" + form, self.bytes(struct.calcsize("<" + form)))[0]

    def bytes(self, length: int) -> bytes:
        if length > self._size - self._file.tell():  # checked before memory is allocated
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
