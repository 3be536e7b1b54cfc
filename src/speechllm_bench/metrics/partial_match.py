"""Partial match of slot-value pairs, versions 1 and 2: the suite's own soft slot metric (protocol, rule 12).

A predicted value earns credit for the longest run of consecutive words that it shares with the gold value of
the same slot. The rule is ours, since 2510.15851 and 2510.19326 do not publish the rule of their figures.

Version 1 compares words as they are spelt. Version 2 compares the tokens of `text.spoken_tokens`, so
"395961" equals "three nine five nine six one". Version 2 also counts every pair of an answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from speechllm_bench.metrics import Counts, pairs
from speechllm_bench.text import spoken_tokens

VERSION = 1
VERSION_2 = 2


def credit(gold: str, predicted: str) -> float:
    """Return 2 x longest common run of words / (gold words + predicted words), in 0 to 1.

    Words are separated by whitespace in the lower-cased text.
    """
    return _credit(gold.lower().split(), predicted.lower().split())


def credit_v2(gold: str, predicted: str) -> float:
    """Return the same ratio over spoken tokens, in 0 to 1.

    The normaliser may remove all of a value such as "um" or "?". Then its NFC lower-case words are used.
    """
    return _credit(*(spoken_tokens(text) or _nfc(text).lower().split() for text in (gold, predicted)))


def counts(gold: dict | None, predicted: dict | None) -> Counts:
    """Return the summed credit, predicted pairs and gold pairs of one answer; `None` is unparsable."""
    gold, predicted = pairs(gold), pairs(predicted)
    correct = sum(credit(value, predicted[slot]) for slot, value in gold.items() if slot in predicted)
    return Counts(correct, len(predicted), len(gold))


def counts_v2(gold: Mapping[str, str] | None, predicted: Iterable[tuple[str, object]] | None) -> Counts:
    """Return the summed credit, predicted pairs and gold pairs of one answer by version 2.

    predicted: every pair of slot and value in the order of the answer; `None` is an unparsable answer. Null
    and blank text are no pair. Any other value that is not text (a number, true or false, a list or an
    object, even an empty one) is a pair without credit. Only the last value of a repeated slot can earn
    credit; each earlier one counts as a predicted pair. Slot names are compared in Unicode NFC.
    """
    wanted = {_nfc(slot): value for slot, value in pairs(gold).items()}
    said = [(_nfc(slot), value) for slot, value in predicted or ()]
    standing = dict(said)  # keeps the last value of a repeated slot
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
