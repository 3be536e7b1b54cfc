"""The length of an MP3 that no header tells. libsndfile estimates it from the first frame alone."""

from __future__ import annotations

from collections.abc import Iterator

KBITS = {  # MPEG version bits -> bit rates of Layer III, in kbit/s
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
KBITS[0] = KBITS[2]
RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # in Hz
TAGS = (b"Xing", b"Info", b"VBRI")  # each with the number of frames


def untold_samples(data: bytes) -> int | None:
    """Return the number of samples in an MP3's frames; None for other files, and if a header tells it."""
    frames = list(_frames(data))
    if not frames:
        return None
    at, size, _ = frames[0]
    if any(tag in data[at : at + size] for tag in TAGS):
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
        size = n * KBITS[version][kbits] * 125 // RATES[version][rate] + (data[at + 2] >> 1 & 1)
        yield at, size, n
        at += size
