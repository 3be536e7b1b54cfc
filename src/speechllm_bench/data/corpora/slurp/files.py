"""Reads SLURP's annotation files (Bastianelli et al. 2020, CC BY 4.0), which are JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

from speechllm_bench.errors import UserError

GOLD_KEYS = ("scenario", "action", "tokens", "entities", "recordings")


def rows(path: Path, *keys: str) -> list[dict]:
    """Return the JSON objects of a file, one per line. Raises UserError for a line without these keys."""
    found = []
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # JSON strings may contain others
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            raise UserError(f"{path.name}, line {number}: not readable JSON; fetch the file again") from None
        if not isinstance(found[-1], dict):
            raise UserError(f"{path.name}, line {number}: not a JSON object; is it a SLURP file?")
        if missing := [key for key in keys if key not in found[-1]]:
            raise UserError(f"{path.name}, line {number}: no {', '.join(missing)}; is it a SLURP file?")
    return found
