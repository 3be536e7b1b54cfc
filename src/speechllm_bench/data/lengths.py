"""Checks that an audio file is as long as its header says, so that truncated files raise an error."""

from __future__ import annotations

import hashlib
import re
import struct

import numpy as np

UNKNOWN = 0xFFFFFF00  # a WAV length of this or more means that its writer could not seek back to fill it in
_SHORT = re.compile(r"^\s*(?:RIFF|data|FORM|SSND) : (\d+) \(should be (\d+)\)", re.M)  # libsndfile's log


def fault(data: bytes, log: str, samples: np.ndarray) -> str | None:
    """Return the fault of a file's length, or None if there is no fault.

    data: the file's bytes. log: `soundfile.SoundFile.extra_info`. samples: (n, channels) float32, as read.
    """
    for told, there in _SHORT.findall(log):
        if int(told) > int(there) and int(told) < UNKNOWN:
            return f"its header says {told} bytes, but it has only {there}: it is cut short"
    if data[:4] == b"RIFF":
        return _behind(data)
    if data[:4] == b"fLaC":
        return _other_samples(data, samples)
    if data[:4] == b"OggS" and not _ended(data):
        return "its last page is missing: it is cut short"
    return None


def _behind(data: bytes) -> str | None:
    """Return the fault of a WAV whose header claims too few samples. Then no valid chunk follows them."""
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if size >= UNKNOWN:
            return None
        if not all(32 <= byte < 127 for byte in name) or at + 8 + size > len(data):
            return "its parts are not as long as their headers say"
        at += 8 + size + size % 2
    return None


def _other_samples(data: bytes, samples: np.ndarray) -> str | None:
    """Return the fault of a 16-bit FLAC whose samples do not have the MD5 hash in its header."""
    about = int.from_bytes(data[18:26], "big")
    bits, told = (about >> 36 & 0x1F) + 1, data[26:42]
    if bits != 16 or not any(told):
        return None
    read = np.rint(samples * 32768).astype("<i2").tobytes()
    if hashlib.md5(read, usedforsecurity=False).digest() == told:
        return None
    return "its samples do not match the hash in its header"


def _ended(data: bytes) -> bool:
    """Whether the last page of an Ogg file is complete and marked as the last one."""
    page = data.rfind(b"OggS")
    if len(data) < page + 27 or not data[page + 5] & 4:
        return False
    lengths = data[page + 27 : page + 27 + data[page + 26]]
    return len(data) >= page + 27 + len(lengths) + sum(lengths)
