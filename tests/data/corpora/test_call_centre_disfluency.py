"""Disfluencies stand between words and values, and never inside a value."""

from __future__ import annotations

import random

from speechllm_bench.data.corpora.call_centre.disfluency import (
    Filled,
    correct,
    correctable,
    hesitate,
    restart,
)
from speechllm_bench.data.corpora.call_centre.values import Value

OXTON = Filled("city", Value("oxton", "Oxton"))
PIECES = ["send", "it", "to", OXTON, "please"]


def _all(function, *arguments) -> set[tuple]:
    return {tuple(function(PIECES, random.Random(seed), *arguments)) for seed in range(300)}


def test_a_restart_repeats_one_or_two_words():
    assert _all(restart) == {("send", *PIECES), ("send", "it", *PIECES)}
    assert restart([OXTON], random.Random(0)) == [OXTON]  # nothing to say twice


def test_a_hesitation_is_added_and_nothing_is_lost():
    for said in _all(hesitate, ["um", "let me see"]):
        rest = [p for p in said if p not in ("um", "let", "me", "see")]
        assert rest == PIECES and len(said) > len(PIECES)
        assert "see" not in said[3:]  # phrases open a turn, sounds stand anywhere


def test_a_correction_says_the_wrong_value_first():
    for said in _all(correct, 3, Value("new selby", "New Selby")):
        assert said[:5] == ("send", "it", "to", "new", "selby")
        assert said[-2:] == (OXTON, "please")


def test_spelled_and_very_long_values_are_not_corrected():
    spelled = Filled("surname", Value("ray", "Ray", "r a y"))
    phone = Filled("phone", Value("one two three four five six seven", "1234567"))
    assert correctable(["hi", spelled, OXTON, phone]) == [2]
