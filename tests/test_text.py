import random
import subprocess
import sys
import unicodedata

import pytest

from speechllm_bench import text
from speechllm_bench.errors import UserError


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        ("", ""),
        ("   ", ""),
        ("Um, I can't pay $19.50!", "i can not pay $19.50"),
        ("nineteen  dollars", "$19"),
        ("The colour's grey.", "the color is gray"),
        ("[noise] Hello", "hello"),
    ],
)
def test_whispers_english_rules(said, normal):
    assert text.normalise_english(said) == normal


NUMBER = tuple("395961")


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ("395961", NUMBER),
        ("39 5961", NUMBER),
        ("395-961", NUMBER),
        ("395,961", NUMBER),
        ("3 9 5 9 6 1", NUMBER),
        ("Three nine five, nine six one.", NUMBER),
        ("double four", ("4", "4")),
        ("Double 4, 4", ("4", "4", "4")),
        ("triple five two", ("5", "5", "5", "2")),
        ("oh four five", ("0", "4", "5")),
        ("045", ("0", "4", "5")),
        ("double oh seven", ("0", "0", "7")),
        ("double 0 seven", ("0", "0", "7")),
        ("007", ("0", "0", "7")),
        ("0-0-1", ("0", "0", "1")),
        ("one", ("1",)),
        ("1", ("1",)),
        ("1 2", ("1", "2")),
        ("d m six five", ("d", "m", "6", "5")),
        ("twenty first", ("2", "1", "st")),
        ("nineteen dollars", ("$", "1", "9")),
        ("19 dollars", ("$", "1", "9")),
        ("10.05", ("1", "0", ".", "0", "5")),
        ("zero point five", ("0", ".", "5")),
        ("0.5", ("0", ".", "5")),
        ("the colour, um, grey", ("the", "color", "gray")),
        ("\uff13\u0665", ("3", "5")),  # a full-width and an Arabic-Indic digit
        ("um", ()),
        ("?!", ()),
        ("", ()),
        ("ann \ud83d", ("ann", "\ud83d")),
    ],
)
def test_spoken_tokens(said, tokens):
    assert text.spoken_tokens(said) == tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$19.50", "nineteen fifty"),
        ("nineteen dollars", "nineteen pounds"),
        ("1.5", "15"),
        ("dm65", "d m 65"),
        ("ann@mail.com", "ann at mail dot com"),
        ("twelve", "twenty"),
        ("05:30", "five thirty"),
    ],
)
def test_what_stays_different(one, other):
    assert text.spoken_tokens(one) != text.spoken_tokens(other)


def test_digits_said_and_written_are_the_same_tokens_however_they_are_grouped():
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    rng = random.Random(0)
    for _ in range(500):
        digits = [rng.randrange(10) for _ in range(rng.randint(1, 11))]
        said = " ".join(rng.choice(("oh", "zero")) if d == 0 else words[d] for d in digits)
        number, at = "".join(map(str, digits)), rng.randrange(len(digits))
        written = rng.choice((number, " ".join(number), f"{number[:at]} {number[at:]}"))
        assert text.spoken_tokens(said) == text.spoken_tokens(written) == tuple(number), (said, written)


def test_composed_and_decomposed_text_is_the_same():
    """Decomposed, the "st" of this word would be taken for "saint"."""
    word = "\u00e9st"
    assert text.spoken_tokens(unicodedata.normalize("NFD", word)) == text.spoken_tokens(word) == ("est",)


def test_a_number_too_long_for_python_is_text():
    assert text.normalise_english("Pay " + "1" * 5000) == "pay " + "1" * 5000
    assert text.spoken_tokens("1" * 5000) == ("1",) * 5000


def test_neither_torch_nor_whisper_is_imported():
    code = (
        "import sys; from speechllm_bench.text import normalise_english; normalise_english('hi');"
        "assert not {'torch', 'whisper'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_spellings_are_named(monkeypatch):
    monkeypatch.setattr(text, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install openai-whisper"):
        text._spellings()
