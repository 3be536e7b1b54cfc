"""Checks that an audio file is as long as its header says, so that truncated files raise an error."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator

import numpy as np

UNKNOWN = 0xFFFFFF00  # a WAV length of this or more means that its writer could not seek back to fill it in
PLAIN = {1, 3, 0xFFFE}  # WAV formats whose frames have a fixed size: integers, floats, extensible
_PART = r"^\s*(?:RIFF|riff|Riff size|FORM|SSND|[Dd]ata|Data [Ss]ize)"
_SHORT = re.compile(_PART + r" *: (\d+) \(should be (\d+)\)", re.M)  # libsndfile's log
_MP3_FRAME = 576  # samples; an MP3 may lack this many of what its header says
_MP3_ENDS = 4 * 1152  # samples; libsndfile leaves out a few frames at the ends
_KBITS = {  # MPEG version bits -> bit rates of Layer III, in kbit/s
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBITS[0] = _KBITS[2]
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # in Hz
_TAGS = (b"Xing", b"Info", b"VBRI")  # each with the number of frames


def fault(data: bytes, log: str, told_samples: int, samples: np.ndarray) -> str | None:
    """Return the fault of a file's length, or None if there is no fault.

    data: the file's bytes. log: `soundfile.SoundFile.extra_info`. told_samples: the number in the header,
    or an estimate of it for an MP3 without one. samples: (n, channels) float32, as read.
    """
    counted = untold_samples(data)
    if counted is not None:
        if counted > len(samples) + _MP3_ENDS:
            return f"no header says that it has {counted} samples, and only {len(samples)} can be read"
        return None
    if told_samples >= len(samples) + _MP3_FRAME:
        return f"its header says {told_samples} samples, but it has only {len(samples)}: it is cut short"
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
    """Return the fault of a WAV whose header contradicts itself, or claims too few samples.

    After too few samples no valid chunk follows.
    """
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if name == b"fmt " and (wrong := _contradiction(data[at + 8 : at + 24])):
            return wrong
        if size >= UNKNOWN:
            return None
        if not all(32 <= byte < 127 for byte in name) or at + 8 + size > len(data):
            return "its parts are not as long as their headers say"
        at += 8 + size + size % 2
    return None


def _contradiction(form: bytes) -> str | None:
    """Return the fault of a WAV's format chunk whose sizes do not agree. Only plain samples are judged."""
    if len(form) < 16:
        return "its format chunk is cut short"
    kind, channels, rate, bytes_a_second, bytes_a_frame, bits = struct.unpack("<HHIIHH", form)
    frame = channels * -(-bits // 8)
    if kind in PLAIN and (bytes_a_frame, bytes_a_second) != (frame, rate * frame):
        return (
            f"its header says {channels} x {bits} bits at {rate} Hz, but {bytes_a_frame} bytes a frame and "
            f"{bytes_a_second} a second"
        )
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


def untold_samples(data: bytes) -> int | None:
    """Return the number of samples in an MP3's frames; None for other files, and if a header tells it.

    libsndfile estimates the length of an MP3 without such a header from the first frame alone.
    """
    frames = list(_frames(data))
    if not frames:
        return None
    at, size, _ = frames[0]
    if any(tag in data[at : at + size] for tag in _TAGS):
        return None
    return sum(n for _, _, n in frames)


def _frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield place, bytes and samples of each frame of Layer III, up to the first thing that is none."""
    at = 0
    if data[:3] == b"ID3" and len(data) >= 10:  # its length has 7 bits a byte
        at = 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] & 0xE6 == 0xE2:
        version, kbits, rate = data[at + 1] >> 3 & 3, data[at + 2] >> 4, data[at + 2] >> 2 & 3
        if version == 1 or kbits in (0, 15) or rate == 3:
            return
        n = 1152 if version == 3 else 576
        size = n * _KBITS[version][kbits] * 125 // _RATES[version][rate] + (data[at + 2] >> 1 & 1)
        yield at, size, n
        at += size
