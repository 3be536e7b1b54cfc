"""Finds files of published corpora. Each corpus has a folder in the one that SPEECHLLM_BENCH_DATA names."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from speechllm_bench.errors import MissingInput
from speechllm_bench.storage import runs


def published_file(corpus: str, name: str) -> Path:
    """Return a file or folder of a corpus. Raises MissingInput if it does not exist."""
    data = os.environ.get("SPEECHLLM_BENCH_DATA")
    if not data:
        raise MissingInput(
            f"corpus '{corpus}' is not on this machine, for SPEECHLLM_BENCH_DATA is not set; let it name a "
            f"folder with {corpus}/ in it (docs/profiles.md, The paper profile)"
        )
    if not (path := Path(data) / corpus / name).exists():
        raise MissingInput(
            f"corpus '{corpus}' is not whole on this machine: {path.parent} has no {path.name}; fetch it "
            "(docs/profiles.md, The paper profile)"
        )
    return path


@cache
def file_hash(file: Path) -> str:
    """Return the SHA-256 of a file, which must not change while a process runs: the hash is cached."""
    return runs.file_sha256(file)
