import subprocess
import sys

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
