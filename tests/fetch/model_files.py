"""Writers of the two source formats, for tests alone: a CTranslate2 file, a GGUF file, and a wheel."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

CT2_TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
GGUF_F32, GGUF_Q4_1, GGUF_Q8_0 = 0, 3, 8


def write_ctranslate2(
    path: Path,
    variables: Mapping[str, np.ndarray],
    aliases: Mapping[str, str] | None = None,
    specification: str = "WhisperSpec",
    version: int = 6,
) -> None:
    """As `ctranslate2.specs.ModelSpec.save` lays it out."""

    def text(name: str) -> bytes:
        return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"

    out = struct.pack("<I", version) + text(specification) + struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        out += text(name) + struct.pack("<B", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
        out += struct.pack("<BI", CT2_TYPES[value.dtype.name], value.nbytes) + value.tobytes()
    out += struct.pack("<I", len(aliases or {}))
    for name, target in (aliases or {}).items():
        out += text(name) + text(target)
    path.write_bytes(out)


def quantise(values: np.ndarray, kind: int) -> tuple[bytes, np.ndarray]:
    """The blocks of 32 values and, value by value, what they stand for (float32)."""
    if kind == GGUF_F32:
        return values.astype("<f4").tobytes(), values.astype(np.float32)
    out, meant = b"", []
    for block in values.reshape(-1, 32):
        if kind == GGUF_Q8_0:
            scale = np.float16(np.abs(block).max() / 127)
            whole = [round(float(v) / float(scale)) for v in block]
            out += scale.tobytes() + struct.pack("<32b", *whole)
            meant += [float(scale) * n for n in whole]
        else:
            low = np.float16(block.min())
            scale = np.float16((block.max() - block.min()) / 15)
            whole = [min(15, max(0, round((float(v) - float(low)) / float(scale)))) for v in block]
            pairs = [whole[i] | whole[i + 16] << 4 for i in range(16)]
            out += scale.tobytes() + low.tobytes() + bytes(pairs)
            meant += [float(scale) * n + float(low) for n in whole]
    return out, np.array(meant, np.float32).reshape(values.shape)


def write_gguf(path: Path, metadata: Mapping, tensors: Mapping[str, tuple[tuple, int, bytes]]) -> None:
    """`tensors`: shape as in PyTorch, type and bytes by name; each is aligned to 32 bytes."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def value(of) -> bytes:
        """Type and value; a bool before an int, which it is as well."""
        if isinstance(of, bool):
            return struct.pack("<I?", 7, of)
        if isinstance(of, int):
            return struct.pack("<II", 4, of)
        if isinstance(of, float):
            return struct.pack("<If", 6, of)
        if isinstance(of, str):
            return struct.pack("<I", 8) + text(of)
        parts = [value(part) for part in of]
        return (
            struct.pack("<I", 9) + parts[0][:4] + struct.pack("<Q", len(of)) + b"".join(p[4:] for p in parts)
        )

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(key) + value(of) for key, of in metadata.items())
    body = b""
    for name, (shape, kind, content) in tensors.items():
        body += b"\0" * (-len(body) % 32)
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head += struct.pack("<IQ", kind, len(body))
        body += content
    path.write_bytes(head + b"\0" * (-len(head) % 32) + body)


def write_wheel(folder: Path, package: str, version: str, members: Mapping[str, bytes]) -> Path:
    """A wheel that pip takes, with `members` beside what the format asks for."""
    stem = f"{package.replace('-', '_')}-{version}"
    about = {
        f"{stem}.dist-info/METADATA": f"Name: {package}\nVersion: {version}\n".encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/RECORD": b"",
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**about, **members}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file
