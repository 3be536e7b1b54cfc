import numpy as np
import pytest

from speechllm_bench.metrics import wer


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("", "", (0, 0)),
        ("um", "", (0, 0)),  # nothing is left of a hesitation
        ("", "two words", (2, 0)),
        ("two words", "", (2, 2)),
        ("pay the bill", "Pay the bill.", (0, 3)),
        ("pay the bill", "pay a big bill", (2, 3)),
        ("i can't", "i cannot", (2, 3)),  # "can not" against "cannot"
        ("nineteen", "19", (0, 1)),
    ],
)
def test_word_errors(reference, hypothesis, errors):
    assert wer.word_counts(reference, hypothesis) == errors


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [("", "", (0, 0)), ("", "ab", (2, 0)), ("cat", "cut", (1, 3)), ("a cat", "acat", (1, 5))],
)
def test_character_errors(reference, hypothesis, errors):
    assert wer.char_counts(reference, hypothesis) == errors


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("my number is three nine five nine six one", "my number is 395961", (0, 6)),
        ("three nine five nine six one", "39 596 one", (0, 6)),
        (
            "three nine five nine six one",
            "three nine nine six one",
            (1, 6),
        ),  # one digit of six: WER has 1 of 1
        ("three nine five nine six one", "395861, please", (1, 6)),
        ("three nine five nine six one", "", (6, 6)),
        ("double oh seven", "07", (1, 3)),
        ("pay the bill", "pay for 2 bills", (1, 0)),  # a digit that nobody said
        ("pay the bill", "play the bell", (0, 0)),
        ("nineteen dollars", "$19.50", (2, 2)),
    ],
)
def test_digit_errors(reference, hypothesis, errors):
    assert wer.digit_counts(reference, hypothesis) == errors


def test_rate_is_of_the_sums_and_finite():
    assert wer.rate(wer.Errors(3, 4)) == 0.75
    assert wer.rate(wer.Errors(2, 0)) == 2
    assert wer.rate(wer.Errors(0, 0)) == 0
    assert wer.rate(np.array([[[5, 4], [0, 2]]])).tolist() == [[1.25, 0]]
