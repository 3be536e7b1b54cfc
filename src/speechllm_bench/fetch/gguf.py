"""Reads a GGUF file, version 3: its metadata, and its tensors as float32.

The layout is documented in ggml's `docs/gguf.md`, the block formats in `ggml-common.h`. A block has 32
values. Q8_0 stores a scale (fp16) and 32 signed bytes. Q4_1 stores a scale and a minimum (fp16) and 32
nibbles in 16 bytes: first all low nibbles, then all high ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from speechllm_bench.fetch.binary import number

BLOCK = 32  # values
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9


def read_gguf(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Return metadata by key, and tensors by name: float32 as ggml computes them, axes as in PyTorch."""
    with open(path, "rb") as file:
        file.seek(8)  # behind "GGUF" and the version
        n_tensors, n_keys = number(file, "Q"), number(file, "Q")
        metadata = dict((_text(file), _value(file, number(file, "I"))) for _ in range(n_keys))
        stored = [_about(file) for _ in range(n_tensors)]
        alignment = metadata.get("general.alignment", 32)
        start = -(-file.tell() // alignment) * alignment
        return metadata, {about[0]: _tensor(file, start, *about) for about in stored}


def _text(file: BinaryIO) -> str:
    return file.read(number(file, "Q")).decode()


def _value(file: BinaryIO, kind: int):
    if kind == TEXT:
        return _text(file)
    if kind == ARRAY:
        inner, length = number(file, "I"), number(file, "Q")
        return [_value(file, inner) for _ in range(length)]
    value = number(file, NUMBERS[kind])
    return float(str(np.float32(value))) if kind == 6 else value  # 1e-05, not 9.999999747378752e-06


def _about(file: BinaryIO) -> tuple[str, list[int], int, int]:
    """Return name, shape, type and offset of a tensor. GGUF lists the fastest axis first, PyTorch last."""
    name = _text(file)
    sizes = [number(file, "Q") for _ in range(number(file, "I"))]
    return name, sizes[::-1], number(file, "I"), number(file, "Q")


def _tensor(file: BinaryIO, start: int, name: str, shape: list[int], kind: int, offset: int) -> np.ndarray:
    n_values, n_bytes, decode = FORMATS[kind]
    file.seek(start + offset)
    blocks = np.frombuffer(file.read(math.prod(shape) // n_values * n_bytes), np.uint8)
    return decode(blocks.reshape(-1, n_bytes)).reshape(shape)


def _f32(blocks: np.ndarray) -> np.ndarray:
    return blocks.view("<f4").astype(np.float32)


def _f16(blocks: np.ndarray) -> np.ndarray:
    return blocks.view("<f2").astype(np.float32)


def _q8_0(blocks: np.ndarray) -> np.ndarray:
    """Decode (N, 34) bytes to (N, 32) values: scale x signed byte."""
    return _f16(blocks[:, :2]) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _q4_1(blocks: np.ndarray) -> np.ndarray:
    """Decode (N, 20) bytes to (N, 32) values: scale x nibble + minimum."""
    nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1).astype(np.float32)
    return _f16(blocks[:, :2]) * nibbles + _f16(blocks[:, 2:4])


FORMATS: dict[int, tuple[int, int, Callable[[np.ndarray], np.ndarray]]] = {
    0: (1, 4, _f32),
    1: (1, 2, _f16),
    3: (BLOCK, 20, _q4_1),
    8: (BLOCK, 34, _q8_0),
}
"""ggml's number of a type -> values per block, bytes per block, decoder of blocks."""
