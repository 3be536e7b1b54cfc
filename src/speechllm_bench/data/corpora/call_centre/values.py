"""Draws values of open-class slots: the caller's words and the canonical form.

`KINDS` maps the `kind` of a slot in the domain files to a function (rng, supply) -> Value. All values of a
split come from its own share (splits.share_of). The share is a hash of the word for names and other words, of
month and day for dates, and of the canonical form for amounts and codes. The kinds in `SMALL` have fewer than
500 values, which every speaker needs. All splits share them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from speechllm_bench.data.corpora.call_centre import words
from speechllm_bench.data.corpora.call_centre.names import name_lists
from speechllm_bench.data.corpora.call_centre.splits import FORMANT, Edition
from speechllm_bench.data.corpora.call_centre.spoken_numbers import (
    WEEKDAYS,
    cardinal,
    code_words,
    date_words,
    digit_words,
    money_words,
    time_words,
    year_words,
)

SMALL = frozenset({"age", "duration", "number_small", "percent", "time", "weekday_time", "year"})
"""Kinds whose values all splits share."""

_DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LETTERS = "bcdefghjklmnpqrstuvwxyz"  # without a (read as the article), i and o (like one and oh)


@dataclass(frozen=True)
class Value:
    """A value. `spoken` is its span; `tail` (a spelling) is said directly after the span, outside it."""

    spoken: str
    canonical: str
    tail: str = ""


@dataclass(frozen=True)
class Supply:
    """One share of the words and days that open-class values are made of."""

    share: str
    edition: Edition
    first: tuple[str, ...]
    last: tuple[str, ...]
    towns: tuple[str, ...]
    streets: tuple[str, ...]  # names without "street" and similar words
    brands: tuple[str, ...]
    makes: tuple[str, ...]  # of vehicles
    shops: tuple[str, ...]  # companies with a one-part name; empty for made-up names
    medicines: tuple[str, ...]
    hosts: tuple[str, ...]  # of e-mail addresses
    days: tuple[tuple[int, int], ...]  # (month, day)


@lru_cache
def supply(share: str, edition: Edition = FORMANT) -> Supply:
    """Return the words and days of `share`, from the stored name lists."""

    def own(words: Iterable[str]) -> tuple[str, ...]:
        return tuple(word for word in words if edition.share_of(word) == share)

    lists = {name: own(all_) for name, all_ in name_lists(edition.names).items()}
    days = [(month, day) for month in range(1, 13) for day in range(1, _DAYS_IN_MONTH[month - 1] + 1)]
    made_up = {
        "streets": lists["last"] + lists["towns"],
        "makes": lists["brands"],
        "shops": (),
        "hosts": words.MAIL_HOSTS,
    }
    known = {"hosts": words.KNOWN_MAIL_HOSTS} if "streets" in lists else made_up
    return Supply(
        share=share,
        edition=edition,
        days=tuple(d for d in days if edition.share_of(f"{d[0]:02d}-{d[1]:02d}") == share),
        **lists,
        **known,
    )


def _own(s: Supply, draw: Callable[[], str]) -> str:
    """Return the first draw that belongs to the share. At least a tenth of all draws do."""
    while s.edition.share_of(text := draw()) != s.share:
        pass
    return text


def _named(text: str) -> Value:
    """Return a value whose canonical form has capitals: "Hutton and Sons", "Jenny O'Friel"."""
    return Value(text, text.title().replace(" And ", " and "))


def _person(rng: random.Random, s: Supply) -> Value:
    return _named(f"{rng.choice(s.first)} {rng.choice(s.last)}")


def _first_name(rng: random.Random, s: Supply) -> Value:
    return _named(rng.choice(s.first))


def _last_name(rng: random.Random, s: Supply) -> Value:
    value = _named(rng.choice(s.last))
    return Value(value.spoken, value.canonical, spelling(value.spoken)) if rng.random() < 0.25 else value


def _spelled_name(rng: random.Random, s: Supply) -> Value:
    value = _named(rng.choice(s.last if rng.random() < 0.7 else s.first))
    return Value(value.spoken, value.canonical, spelling(value.spoken))


def spelling(name: str) -> str:
    """ "o'hara" -> "o h a r a"."""
    return " ".join(name.replace("'", ""))


def company_name(rng: random.Random, s: Supply, kind: str) -> str:
    """ "harrison bank", "tolmar and reed insurance": `kind` is the industry word."""
    name = rng.choice(s.last if rng.random() < 0.6 else s.brands)
    return f"{name} and {rng.choice(s.last)} {kind}" if rng.random() < 0.15 else f"{name} {kind}"


def _company(rng: random.Random, s: Supply) -> Value:
    if s.shops and rng.random() < 0.4:
        return _named(rng.choice(s.shops))
    if rng.random() < 0.25:
        return _named(f"{rng.choice(s.last)} and {rng.choice((rng.choice(s.last), 'sons', 'daughters'))}")
    return _named(company_name(rng, s, rng.choice(words.TRADES)))


def _city(rng: random.Random, s: Supply) -> Value:
    town = rng.choice(s.towns)
    if s.shops:  # real towns need no prefix
        return _named(town)
    return _named(f"{rng.choice(words.TOWN_PREFIXES)} {town}" if rng.random() < 0.15 else town)


def _street(rng: random.Random, s: Supply) -> Value:
    return _named(f"{rng.choice(s.streets)} {rng.choice(words.STREET_SUFFIXES)}")


def _address(rng: random.Random, s: Supply) -> Value:
    number, street = rng.randint(1, 199), _street(rng, s)
    spoken = cardinal(number).replace(" and ", " ")
    if number > 109 and rng.random() < 0.5:
        spoken = f"one {cardinal(number % 100)}"
    return Value(f"{spoken} {street.spoken}", f"{number} {street.canonical}")


def _month_day(rng: random.Random, s: Supply) -> Value:
    month, day = rng.choice(s.days)
    return Value(date_words(month, day, rng), f"{month:02d}-{day:02d}")


def _date(rng: random.Random, s: Supply) -> Value:
    value, style = _month_day(rng, s), rng.random()
    if style < 0.15:
        year = rng.randint(2023, 2028)
        return Value(f"{value.spoken} {year_words(year)}", f"{year}-{value.canonical}")
    if style < 0.3:
        weekday = rng.choice(WEEKDAYS)
        return Value(f"{weekday} {value.spoken}", f"{weekday[:3]} {value.canonical}")
    return value


def _time(rng: random.Random, s: Supply) -> Value:
    hour, minute = rng.randint(8, 19), rng.choice((0, 0, 0, 15, 30, 30, 45, rng.randrange(5, 60, 5)))
    return Value(time_words(hour, minute, rng), f"{hour:02d}:{minute:02d}")


def _weekday_time(rng: random.Random, s: Supply) -> Value:
    weekday, hour, minute = rng.choice(WEEKDAYS), rng.randint(8, 19), rng.choice((0, 0, 30))
    at = time_words(hour, minute, rng)
    return Value(f"{weekday} at {at}", f"{weekday[:3]} {hour:02d}:{minute:02d}")


def _money(rng: random.Random, s: Supply) -> Value:
    def draw() -> str:
        style = rng.random()
        if style < 0.35:
            cents = 100 * rng.randint(5, 999)
        elif style < 0.45:
            cents = 10_000 * rng.randint(1, 60) + rng.choice((0, 5_000))
        else:
            cents = 100 * rng.randint(2, 199) + rng.choice((5, 20, 25, 40, 50, 60, 75, 80, 95, 99))
        return f"${cents // 100}.{cents % 100:02d}"

    canonical = _own(s, draw)
    return Value(money_words(int(canonical[1:].replace(".", "")), rng), canonical)


def _number_small(rng: random.Random, s: Supply) -> Value:
    n = rng.randint(2, 12) if rng.random() < 0.7 else rng.randint(13, 60)
    return Value(cardinal(n), str(n))


def _digits(length: int) -> Callable[[random.Random, Supply], Value]:
    def draw(rng: random.Random, s: Supply) -> Value:
        digits = _own(s, lambda: f"{rng.randrange(10**length):0{length}d}")
        return Value(digit_words(digits, rng), digits)

    return draw


def _phone(rng: random.Random, s: Supply) -> Value:
    number = _own(s, lambda: f"{rng.randint(2, 9)}{rng.randrange(10**9):09d}")
    return Value(digit_words(number, rng), f"{number[:3]}-{number[3:6]}-{number[6:]}")


def _reference(rng: random.Random, s: Supply) -> Value:
    n_digits = rng.randint(2, 4)
    code = _own(s, lambda: f"{_letters(2, rng)}{rng.randrange(10**n_digits):0{n_digits}d}")
    return Value(code_words(code, rng), code)


def _plate(rng: random.Random, s: Supply) -> Value:
    code = _own(s, lambda: f"{_letters(2, rng)}{rng.randrange(100):02d}{_letters(3, rng)}")
    return Value(code_words(code, rng), code)


def _letters(n: int, rng: random.Random) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(n)).upper()


def _email(rng: random.Random, s: Supply) -> Value:
    first, last, host = rng.choice(s.first), rng.choice(s.last).replace("'", ""), rng.choice(s.hosts)
    return Value(f"{first} dot {last} at {host} dot com", f"{first}.{last}@{host}.com")


def _duration(rng: random.Random, s: Supply) -> Value:
    unit, most = rng.choice((("day", 21), ("week", 12), ("month", 24), ("month", 24), ("year", 3)))
    n = rng.randint(2, most)
    return Value(f"{cardinal(n)} {unit}s", f"{n} {unit}s")


def _percent(rng: random.Random, s: Supply) -> Value:
    n = rng.choice((5 * rng.randint(1, 20), rng.randint(2, 60)))
    return Value(f"{cardinal(n)} percent", f"{n}%")


def _year(rng: random.Random, s: Supply) -> Value:
    year = rng.randint(1950, 2025)
    return Value(year_words(year), str(year))


def _age(rng: random.Random, s: Supply) -> Value:
    n = rng.randint(18, 88)
    return Value(cardinal(n) + rng.choice(("", " years old")), str(n))


def _pair(left: tuple[str, ...], right: tuple[str, ...]) -> Callable[[random.Random, Supply], Value]:
    """Return a function that draws a word from each list. The pair as a whole belongs to a share."""
    return lambda rng, s: _named(_own(s, lambda: f"{rng.choice(left)} {rng.choice(right)}"))


def _single(choices: tuple[str, ...]) -> Callable[[random.Random, Supply], Value]:
    return lambda rng, s: _named(_own(s, lambda: rng.choice(choices)))


def _vehicle(rng: random.Random, s: Supply) -> Value:
    return _named(f"{rng.choice(s.makes)} {rng.choice(words.VEHICLE_MODELS)}")


KINDS: dict[str, Callable[[random.Random, Supply], Value]] = {
    "address": _address,
    "age": _age,
    "city": _city,
    "company": _company,
    "date": _date,
    "digits4": _digits(4),
    "digits6": _digits(6),
    "dish": _pair(words.DISH_STYLES, words.DISHES),
    "duration": _duration,
    "email": _email,
    "first_name": _first_name,
    "item": _pair(words.ITEM_QUALITIES, words.ITEMS),
    "language": _single(words.LANGUAGES),
    "last_name": _last_name,
    "law": _pair(words.LAW_TOPICS, words.LAW_FORMS),
    "medicine": lambda rng, s: _named(rng.choice(s.medicines)),
    "money": _money,
    "month_day": _month_day,
    "nationality": _single(words.NATIONALITIES),
    "number_small": _number_small,
    "percent": _percent,
    "person": _person,
    "phone": _phone,
    "plate": _plate,
    "product": _pair(words.PRODUCT_QUALITIES, words.PRODUCT_NOUNS),
    "reference": _reference,
    "spelled_name": _spelled_name,
    "street": _street,
    "time": _time,
    "vehicle": _vehicle,
    "weekday_time": _weekday_time,
    "year": _year,
}
