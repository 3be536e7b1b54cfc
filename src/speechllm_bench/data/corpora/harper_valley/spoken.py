"""Regular expressions for spoken values of HarperValleyBank's records, in lower-case transcripts.

A record has 135, 11:00 AM and 715-139-0787; a transcript has words. Each kind of value has a pattern for the
usual ways to say it. A value that is said in another way is not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from num2words import num2words

DIGITS = ("(?:zero|oh|o)", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = {num2words(n) for n in range(10, 20)} | {num2words(n) for n in range(20, 100, 10)}
NUMBERS = TEENS | {num2words(n) for n in range(10)} | {"oh", "hundred", "thousand"}


def as_written(text: str) -> str:
    """Return the pattern of a name, kind of account or day: its words as written."""
    return r"\s+".join(re.escape(word) for word in re.findall(r"[a-z0-9']+", text.lower()))


def cardinal(n: int) -> str:
    """Return the pattern of a number.

    135: one hundred (and) thirty five, a hundred thirty five, one thirty five.
    """
    hundreds, rest = divmod(n, 100)
    small = num2words(rest).replace("-", r"\s+") if rest or not hundreds else ""
    if not hundreds:
        return small
    first = rf"(?:{DIGITS[hundreds]}|a)\s+hundred" if hundreds == 1 else rf"{DIGITS[hundreds]}\s+hundred"
    if not small:
        return first
    short = rf"|{DIGITS[hundreds]}\s+(?:(?:zero|oh|o)\s+)?{small}"
    return rf"(?:{first}\s+(?:and\s+)?{small}{short})"


def amount(value: str) -> str:
    """Return the pattern of an amount of money, with or without the word "dollars"."""
    dollars, _, cents = value.lstrip("$ ").partition(".")
    said = cardinal(int(dollars)) + (
        rf"\s+dollars\s+(?:and\s+)?{cardinal(int(cents))}" if int(cents or 0) else ""
    )
    return rf"{said}(?:\s+dollars)?"


def clock(value: str) -> str:
    """Return the pattern of a time such as 11:00 AM: hour, minutes unless zero, optionally a.m. or p.m."""
    if not (read := re.fullmatch(r"(\d+):(\d+)\s*([ap])m", value.lower())):
        raise ValueError(f"{value} is no time of the day")
    hour, minute, half = read.groups()
    said = cardinal(int(hour)) + (rf"\s+{cardinal(int(minute))}" if int(minute) else r"(?:\s+o'?clock)?")
    return rf"{said}(?:\s+{half}\.?\s*m\b\.?)?"


def digits(value: str) -> str:
    """Return the pattern of a number that is said digit by digit."""
    return r"\s+".join(DIGITS[int(digit)] for digit in re.findall(r"\d", value))


def address(value: str) -> str:
    """Return the pattern of an address. Numbers are said digit by digit, or as in "nine ten".

    Example: 910 First Street, Forest Ranch, California, 78311.
    """
    parts = []
    for part in re.findall(r"\d+|[a-z']+", value.lower()):
        if not part.isdigit():
            parts.append(re.escape(part))
        elif len(part) == 3 and part[1] in "123456789":
            short = rf"{DIGITS[int(part[0])]}\s+{num2words(int(part[1:])).replace('-', ' ')}"
            parts.append(rf"(?:{digits(part)}|{short})")
        else:
            parts.append(digits(part))
    return r"\s+".join(parts)


def find_value(pattern: Callable[[str], str], value: str, transcript: str) -> tuple[int, int] | None:
    """Return the span of a value in a transcript; None if it is not said, or not in a known way."""
    try:
        match = re.search(rf"(?<![\w'])(?:{pattern(value)})(?![\w'])", transcript)
    except (ValueError, AttributeError, IndexError):  # a value of another form, such as 8:30 am to 5:00 pm
        return None
    return match.span() if match else None


def told_otherwise(value: str, transcript: str) -> bool:
    """Whether a turn contains some word of a value with three letters or more, so it may say the value."""
    return bool(set(re.findall(r"[a-z]{3,}", value.lower())) & set(transcript.split()))


def other_numbers(transcript: str, spans: list[tuple[int, int]]) -> bool:
    """Whether a turn has number words outside these spans, except "one" ("a new one"), "zero" and "oh"."""
    rest = list(transcript)
    for start, end in spans:
        rest[start:end] = " " * (end - start)
    return bool(set("".join(rest).split()) & (NUMBERS - {"one", "zero", "oh"}))
