"""Numbers of little-endian binary files, which are pinned by hash, so that their content needs no check."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO


def number(file: BinaryIO, form: str) -> Any:
    """Return the next number in the notation of `struct`: B 1, H 2, I or f 4, Q or d 8 bytes."""
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]
