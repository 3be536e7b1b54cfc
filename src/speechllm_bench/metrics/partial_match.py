"""Partial match of slot-value pairs, versions 1 and 2: the suite's own soft slot metric (protocol, rule 12).

A predicted value earns credit for the longest run of consecutive words it shares with the gold value
of the same slot. The rule behind the figures of 2510.15851 and 2510.19326 is not known; this is ours.

Version 1 compares words as they are spelt. Version 2 compares the tokens of `text.spoken_tokens`, so that
"395961" and "three nine five nine six one" are one value, and counts every pair that an answer has.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from speechllm_bench.metrics import Counts, pairs
from speechllm_bench.text import spoken_tokens

__all__ = ["VERSION", "VERSION_2", "counts", "counts_v2", "credit", "credit_v2"]

VERSION = 1
VERSION_2 = 2


def credit(gold: str, predicted: str) -> float:
    """2 x longest common run of words / (gold words + predicted words), in 0 to 1.

    Words are what whitespace separates in the lower-cased text.
    """
    return _credit(gold.lower().split(), predicted.lower().split())


def credit_v2(gold: str, predicted: str) -> float:
    """The same ratio over spoken tokens, in 0 to 1.

    The normaliser may leave nothing of a value such as "um" or "?"; its composed lower-case words stand then.
    """
    return _credit(*(spoken_tokens(text) or _nfc(text).lower().split() for text in (gold, predicted)))


def counts(gold: dict | None, predicted: dict | None) -> Counts:
    """Summed credit, predicted pairs and gold pairs of one answer; `None` is an unparsable one."""
    gold, predicted = pairs(gold), pairs(predicted)
    correct = sum(credit(value, predicted[slot]) for slot, value in gold.items() if slot in predicted)
    return Counts(correct, len(predicted), len(gold))


def counts_v2(gold: Mapping[str, str] | None, predicted: Iterable[tuple[str, object]] | None) -> Counts:
    """Summed credit, predicted pairs and gold pairs of one answer by version 2.

    predicted: every pair of slot and value in the order of the answer; `None` is an unparsable answer. Null
    and text without a word are no pair. Any other value that is not text (a number, true or false, a list, an
    object, an empty one too) is a pair that earns nothing. Of a slot given twice the last value stands, and
    each earlier one is a pair without gold. Names of slots are composed (Unicode NFC).
    """
    wanted = {_nfc(slot): value for slot, value in pairs(gold).items()}
    said = [(_nfc(slot), value) for slot, value in predicted or ()]
    standing = dict(said)  # of a slot given twice the last
    texts = {slot: value for slot, value in standing.items() if isinstance(value, str)}
    correct = sum(credit_v2(value, texts[slot]) for slot, value in wanted.items() if slot in texts)
    return Counts(correct, sum(not _is_nothing(value) for _, value in said), len(wanted))


def _credit(gold: Sequence[str], predicted: Sequence[str]) -> float:
    if not gold or not predicted:
        return 0.0
    run = SequenceMatcher(None, gold, predicted, autojunk=False).find_longest_match().size
    return 2 * run / (len(gold) + len(predicted))


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
