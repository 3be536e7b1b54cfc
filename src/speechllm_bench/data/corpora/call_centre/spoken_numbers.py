"""Converts numbers, amounts, dates and codes to words as people say them on the phone.

Each function uses num2words and returns words only ([a-z ]). A random generator selects one of the usual
ways to say the same thing.
"""

from __future__ import annotations

import random
from functools import lru_cache

from num2words import num2words

from speechllm_bench.data.corpora.call_centre.words import entries

MONTHS = entries(
    "january, february, march, april, may, june, july, august, september, october, november, december"
)
WEEKDAYS = entries("monday, tuesday, wednesday, thursday, friday, saturday, sunday")
_DIGITS = entries("zero, one, two, three, four, five, six, seven, eight, nine")


@lru_cache(20_000)
def cardinal(n: int) -> str:
    """1204 -> "one thousand two hundred and four"."""
    return num2words(n).replace(",", "").replace("-", " ")


@lru_cache(100)
def ordinal(n: int) -> str:
    """21 -> "twenty first"."""
    return num2words(n, to="ordinal").replace("-", " ")


@lru_cache(200)
def year_words(year: int) -> str:
    """1984 -> "nineteen eighty four"."""
    return num2words(year, to="year").replace("-", " ").replace(" and ", " ")


def money_words(cents: int, rng: random.Random) -> str:
    """1950 -> "nineteen dollars and fifty cents", "nineteen dollars fifty" or "nineteen fifty"."""
    dollars, rest = divmod(cents, 100)
    amount = cardinal(dollars)
    if rng.random() < 0.5:
        amount = amount.replace(" and ", " ")
    if 1000 < dollars < 10_000 and dollars % 1000 and dollars % 100 == 0 and rng.random() < 0.5:
        amount = f"{cardinal(dollars // 100)} hundred"
    unit = "dollar" if dollars == 1 else "dollars"
    if not rest:
        return f"{amount} {unit}"
    style = rng.random()
    if style < 0.35 and rest >= 10 and 2 <= dollars < 100:
        return f"{amount} {cardinal(rest)}"
    if style < 0.65:
        return f"{amount} {unit} {cardinal(rest)}"
    return f"{amount} {unit} and {cardinal(rest)} {'cent' if rest == 1 else 'cents'}"


def date_words(month: int, day: int, rng: random.Random) -> str:
    """(5, 3) -> "may third", "the third of may" or "may the third"."""
    name, nth = MONTHS[month - 1], ordinal(day)
    return rng.choice((f"{name} {nth}", f"the {nth} of {name}", f"{name} the {nth}"))


def time_words(hour: int, minute: int, rng: random.Random) -> str:
    """(16, 30) -> "four thirty", "half past four", "four thirty p m".

    Only for business hours from 8 to 19, so that twelve-hour forms are unambiguous.
    """
    hour12 = cardinal((hour - 1) % 12 + 1)
    style = rng.random()
    if hour == 12 and minute == 0 and style < 0.4:
        return "noon"
    if style < 0.35 and minute in (15, 30, 45):
        next_hour = cardinal(hour % 12 + 1)
        said = {15: f"quarter past {hour12}", 30: f"half past {hour12}", 45: f"quarter to {next_hour}"}
        return said[minute]
    minutes = f" {_minutes(minute)}" if minute else ""
    if style < 0.65:
        return f"{hour12}{minutes} {'a' if hour < 12 else 'p'} m"
    if minute:
        return f"{hour12}{minutes}"
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 17 else "in the evening"
    return rng.choice((f"{hour12} o'clock", f"{hour12} {part}"))


def _minutes(minute: int) -> str:
    return cardinal(minute) if minute >= 10 else f"oh {_DIGITS[minute]}"


def digit_words(digits: str, rng: random.Random) -> str:
    """ "4417" -> "four four one seven", "double four one seven" or "forty four seventeen"."""
    style = rng.random()
    if style < 0.2 and len(digits) == 4 and digits[0] != "0" and digits[2] != "0":
        return f"{cardinal(int(digits[:2]))} {cardinal(int(digits[2:]))}"
    zero = rng.choice(("oh", "zero"))
    words, i = [], 0
    while i < len(digits):
        pair = digits[i : i + 2]
        word = zero if digits[i] == "0" else _DIGITS[int(digits[i])]
        double = style > 0.6 and len(pair) == 2 and pair[0] == pair[1]
        words.append(f"double {word}" if double else word)
        i += 1 + double
    return " ".join(words)


def code_words(code: str, rng: random.Random) -> str:
    """ "BC74" -> "b c seven four"."""
    zero = rng.choice(("oh", "zero"))
    return " ".join((_DIGITS[int(c)] if c != "0" else zero) if c.isdigit() else c.lower() for c in code)
