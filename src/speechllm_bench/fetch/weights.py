"""Writes a backbone's files with the same bytes under all versions of the libraries.

A backbone is identified by the bytes of its files (`identity.backbone_hash`). transformers may order keys
differently from version to version, so this suite writes JSON itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors, sorted by type and name, with the metadata that transformers needs."""
    save_file({name: np.asarray(t, order="C") for name, t in tensors.items()}, path, {"format": "pt"})


def write_json(path: Path, content: dict) -> None:
    """Write JSON with sorted keys, two spaces of indent, unescaped UTF-8 and one newline at the end."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
