"""Writes a backbone's files with the same bytes under all versions of the libraries.

A backbone is identified by the bytes of its files (`identity.backbone_hash`). transformers and safetensors
may order keys differently from version to version, so this suite writes both formats itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

DTYPES = {"float16": "F16", "float32": "F32"}


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors, sorted by name, in the safetensors format, with the metadata that transformers needs.

    The format: the header's length as 8 bytes, the header as JSON padded with spaces to a multiple of
    8 bytes, then the tensors' bytes without gaps.
    """
    header: dict = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        start, end = end, end + tensor.nbytes
        kind, shape = DTYPES[tensor.dtype.name], list(tensor.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            little = tensors[name].dtype.newbyteorder("<")
            file.write(np.ascontiguousarray(tensors[name], little).data)


def write_json(path: Path, content: dict) -> None:
    """Write JSON with sorted keys, two spaces of indent, unescaped UTF-8 and one newline at the end."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
