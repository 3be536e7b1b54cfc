"""Text normalisation before word errors are counted: Whisper's English normaliser, without torch.

The rules are in transformers, the table of British spellings is package data of openai-whisper. That
package itself imports torch, so its table is read as a file and the package is never imported.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from speechllm_bench.errors import UserError


def normalise_english(text: str) -> str:
    """Lower case, no punctuation, contractions spelt out, numbers as digits, American spellings.

    Hesitations such as "um" are dropped. Source: Whisper (arXiv 2212.04356), appendix C.
    """
    return " ".join(_normaliser()(text).split())


@cache
def _normaliser():
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer(_spellings())


def _spellings() -> dict[str, str]:
    package = find_spec("whisper")  # finds the folder, imports nothing
    table = Path(package.origin if package else "").parent / "normalizers" / "english.json"
    if not table.is_file():
        raise UserError("Whisper's table of spellings is missing; install it by: pip install openai-whisper")
    return json.loads(table.read_text(encoding="utf-8"))
