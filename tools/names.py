"""Writes the name lists of the call centre, in which no two entries sound alike under the synthesiser.

`names.json` is the stored result of `build_name_lists()`, `names_real.json` that of `build_real_lists()`. The
sources of the first are Faker's name lists of two English locales (most frequent spelling first), and towns,
brands and medicines made from syllables. The sources of the second are Faker's most frequent names in the
United States, and `real_words.yaml`. If several spellings have the same espeak-ng phonemes, only the first is
kept (protocol rule 3), since nobody could tell them apart by ear.

    python tools/names.py
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import version
from itertools import product
from pathlib import Path

from speechllm_bench.data.corpora.call_centre.names import names_file
from speechllm_bench.data.corpora.call_centre.words import entries
from speechllm_bench.settings.strict import read_yaml

_LOCALES = ("en_US", "en_GB")  # other locales have many names that cannot be spelled by ear
_NOT_NAMES = entries(
    "april, may, june, august, sunday, will, young, long, "
    "one, two, three, four, five, six, seven, eight, nine, ten"
)
_TOWN_ENDINGS = entries("ton, ville, burgh, bury, field, ford, port, haven, side, mouth, view")
_BRAND_SYLLABLES = (
    entries("tor, val, ken, mar, sol, ral, dex, nor, zan, lum, quin, bel, cas, fen, gor"),
    entries("a, i, o, e"),
    entries("va, dan, ra, tek, mond, lis, no, ron, dos, nix, bar, gon, ter, sa"),
)
_MEDICINE_SYLLABLES = (
    entries("zol, met, prad, cor, lam, dor, ben, flun, trim, vel, nax, sim, brol, clav, per"),
    entries("a, o, i, e"),
    entries("ma, ro, ti, fe, do, lu, vi, pa"),
    entries("pril, zole, mine, cillin, statin, dol, xin, tidine, lone, fen"),
)
_N_MADE = 1200  # number of brands, and of medicines, before homophones are removed


def fold(name: str) -> str | None:
    """Return the name in lower-case ASCII, or None if it is not one plain word of 3 to 10 characters."""
    word = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return word if re.fullmatch(r"(?=.{3,10}$)[a-z]+('[a-z]{2,})?", word) and word not in _NOT_NAMES else None


def build_name_lists(path: Path) -> None:
    """Collect names, drop homophones and write `path`. Needs Faker and espeakng_loader; takes seconds."""
    first, last = _faker_names("first_names"), _faker_names("last_names")
    roots = [name for name in _faker_names("last_names", _LOCALES) if len(name) <= 7]
    towns = [town for root in roots if not re.search(r"'|(.)\1\1", town := root + _pick(_TOWN_ENDINGS, root))]
    made = {
        "brands": ["".join(parts) for parts in product(*_BRAND_SYLLABLES)],
        "medicines": ["".join(parts) for parts in product(*_MEDICINE_SYLLABLES)],
    }
    lists = {"first": first, "last": last, "towns": towns}
    lists |= {name: sorted(words, key=_digest)[:_N_MADE] for name, words in made.items()}
    _store_lists(lists, path)


def build_real_lists(path: Path) -> None:
    """Collect real names, drop homophones and write `path`. Needs the same as `build_name_lists`."""
    most = {"first_names": 260, "last_names": 420}
    first, last = (_faker_names(attribute, ("en_US",))[:n] for attribute, n in most.items())
    listed = read_yaml(names_file("real_words.yaml"))
    _store_lists({"first": first, "last": last, **{k: list(entries(v)) for k, v in listed.items()}}, path)


def _store_lists(lists: dict[str, list[str]], path: Path) -> None:
    # All lists share `spelling`, so homophones in different lists, such as first and last names, are dropped.
    spelling: dict[str, str] = {}
    kept = {
        name: [w for w in dict.fromkeys(words) if spelling.setdefault(phonemes(w), w) == w]
        for name, words in lists.items()
    }
    record = {
        "sources": {"Faker": version("Faker"), "espeakng-loader": version("espeakng-loader")},
        "lists": {name: sorted(words) for name, words in kept.items()},
    }
    text = json.dumps(record, separators=(",", ":")).replace("],", "],\n")
    path.write_text(text + "\n", encoding="utf-8")


def phonemes(text: str) -> str:
    """Return the IPA phonemes of `text` by espeak-ng's en-us voice, without stress marks or spaces."""
    library = _espeak()
    buffer = ctypes.create_string_buffer(text.encode())
    position = ctypes.c_void_p(ctypes.addressof(buffer))
    clauses = []
    while position.value:
        clauses.append(library.espeak_TextToPhonemes(ctypes.byref(position), 1, 2).decode())
    return re.sub(r"[ˈˌ_\s]", "", "".join(clauses))


@lru_cache(1)
def _espeak() -> ctypes.CDLL:
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    synchronous = 2
    if library.espeak_Initialize(synchronous, 0, espeakng_loader.get_data_path().encode(), 0) <= 0:
        raise RuntimeError("espeak-ng did not start from the espeakng_loader package")
    library.espeak_SetVoiceByName(b"en-us")
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    return library


def _faker_names(attribute: str, locales: tuple[str, ...] = _LOCALES) -> list[str]:
    """Return folded names of these locales, with the most frequent first where Faker has frequencies."""
    found: list[str | None] = []
    for locale in locales:
        provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
        names: Iterable[str] = getattr(provider, attribute)
        if isinstance(names, dict):
            names = [name for _, name in sorted((-weight, name) for name, weight in names.items())]
        found += map(fold, names)
    return list(dict.fromkeys(name for name in found if name))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pick(options: tuple[str, ...], text: str) -> str:
    return options[int(_digest(text), 16) % len(options)]


if __name__ == "__main__":
    build_name_lists(names_file())
    build_real_lists(names_file("names_real.json"))
