"""Text normalisation for the comparison of words: Whisper's English normaliser, without torch.

The rules are in transformers. The table of British spellings is package data of openai-whisper, which imports
torch. So the table is read as a file, and the package is never imported.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from speechllm_bench.errors import UserError

_TOKEN = re.compile(r"\d|[^\d\s]+")
# Leading zeros of a number, but not of a decimal or an amount of money.
_ZEROS = re.compile(r"(?<![\d.,$€£¢])0+(?=[\d\s-]|$)(?!\d*\.\d)")
_REPEATED = re.compile(r"\b(double|triple)\s+(\d)(?!\d)", re.IGNORECASE)
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_ONE = re.compile(r"\bone(s?)\b")


@lru_cache(maxsize=1 << 14)  # WER, CER and the digit error rate normalise the same texts
def normalise_english(text: str) -> str:
    """Normalise a text: lower case, no punctuation, contractions spelt out, digits, American spellings.

    Hesitations such as "um" are dropped. Source: Whisper (arXiv 2212.04356), appendix C. Its code fails on a
    number with more digits than Python converts (4,300); such a text is only lower-cased.
    """
    try:
        return " ".join(_normaliser()(text).split())
    except ValueError:
        return " ".join(text.lower().split())


@lru_cache(maxsize=1 << 16)
def spoken_tokens(text: str) -> tuple[str, ...]:
    """Return the words of a text after Whisper's English normaliser, with each digit as a separate token.

    "395961", "39 5961" and "three nine five nine six one" give the same tokens, and so do "double oh seven",
    "double 0 7" and "007". The text is composed (Unicode NFC) first. This function compensates for three
    rules of the normaliser that make equal digit strings differ: it drops leading zeros, it leaves "double"
    before a digit, and it writes a single 1 as "one".

    Numbers with the same digits are equal: "twenty three" and "two three". These stay different: "$19.50"
    and "nineteen fifty" (symbol and point are tokens); "dm" and "d m"; "a@b.com" and "a at b dot com".
    """
    text = unicodedata.normalize("NFC", text)
    text = _REPEATED.sub(_digit_words, text)
    text = _ZEROS.sub(lambda zeros: " " + "zero " * len(zeros[0]), text)
    return tuple(_TOKEN.findall(_ONE.sub(r"1\1", normalise_english(text))))


def _digit_words(said: re.Match[str]) -> str:
    """Expand "double 4" to "four four", and "triple" likewise."""
    return " ".join([_DIGITS[int(said[2])]] * (2 if said[1].lower() == "double" else 3))


@cache
def _normaliser():
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer(_spellings())


def _spellings() -> dict[str, str]:
    package = find_spec("whisper")  # finds the folder without an import
    table = Path(package.origin or "" if package else "").parent / "normalizers" / "english.json"
    if not table.is_file():
        raise UserError("Whisper's table of spellings is missing; install it by: pip install openai-whisper")
    return json.loads(table.read_text(encoding="utf-8"))
