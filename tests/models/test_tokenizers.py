"""Tokenizers as they are loaded: a plain sentence comes back, or loading ends in a sentence."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tokenizers import pre_tokenizers

from speechllm_bench.errors import UserError
from speechllm_bench.models.llm import load_tokenizer
from speechllm_bench.storage import paths

SENTENCE = 'i said "no"; it was not {"city": "salt lake"} , but rome .'
ZOO = sorted(file.parent.name for file in (paths.PROJECT / "zoo").glob("*/tokenizer.json"))


def declared(folder: Path, kind: str) -> str:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": kind}))
    return str(folder)


@pytest.mark.parametrize("name", ZOO)
def test_the_zoos_tokenizers_give_a_plain_sentence_back(name):
    assert load_tokenizer(f"zoo/{name}").pad_token_id is not None


def test_a_byte_level_tokenizer_that_is_declared_as_llamas_keeps_its_spaces(tiny_backbones, tmp_path):
    """As DeepSeek-R1-Distill-Llama-8B's is. transformers below 5.22 loses them."""
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    tokenizer = load_tokenizer(declared(folder, "LlamaTokenizerFast"))
    assert tokenizer.decode(tokenizer(SENTENCE)["input_ids"]) == SENTENCE
    plain = load_tokenizer(str(tiny_backbones / "llm"))
    assert tokenizer(SENTENCE)["input_ids"] == plain(SENTENCE)["input_ids"]


def test_a_tokenizer_that_loses_spaces_ends_in_a_sentence(tiny_backbones, tmp_path):
    """What the older versions make of such a folder: another pre-tokenizer before the same vocabulary."""
    tokenizer = load_tokenizer(str(tiny_backbones / "llm"))
    tokenizer._tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", split=False)
    shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    tokenizer.save_pretrained(tmp_path / "llm")
    with pytest.raises(
        UserError, match=r"makes 'iwouldlike.*' of 'i would like .* transformers 5\.22"
    ) as told:
        load_tokenizer(str(tmp_path / "llm"))
    assert "\n" not in str(told.value)


def test_no_version_that_loses_spaces_may_be_installed():
    told = tomllib.loads((paths.PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    (asked,) = (Requirement(one).specifier for one in told if one.startswith("transformers"))
    assert "5.22.0" in asked and "5.21.9" not in asked
