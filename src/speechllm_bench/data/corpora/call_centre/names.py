"""Lists of name-like words in which no two entries sound alike under the synthesiser (`tools/names.py`).

`names.json` has Faker's names of two English locales, and made-up towns, brands and medicines.
`names_real.json` has frequent names in the United States, and the words of `real_words.yaml`.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path


def names_file(name: str = "names.json") -> Path:
    return Path(__file__).with_name(name)


@lru_cache
def name_lists(name: str = "names.json") -> dict[str, tuple[str, ...]]:
    """Return `first`, `last`, `towns`, `brands` and `medicines`, each sorted, lower case, [a-z'] only.

    The file of real names also has `streets`, `makes` and `shops`, and names of several words.
    """
    stored = json.loads(names_file(name).read_text(encoding="utf-8"))
    return {name: tuple(words) for name, words in stored["lists"].items()}
