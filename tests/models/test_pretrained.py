"""A backbone that cannot be loaded is told in one sentence."""

from __future__ import annotations

import shutil

import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.models.encoder import load_encoder
from speechllm_bench.models.llm import load_llm


@pytest.mark.parametrize(("part", "load"), [("llm", load_llm), ("whisper", load_encoder)])
def test_truncated_weights(tiny_backbones, tmp_path, part, load):
    folder = shutil.copytree(tiny_backbones / part, tmp_path / part)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="are damaged .* and run again") as told:
        load(str(folder))
    assert str(folder) in str(told.value) and "\n" not in str(told.value)


def test_missing_weights(tiny_backbones, tmp_path):
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded .* and run again") as told:
        load_llm(str(folder))
    assert "\n" not in str(told.value)


def test_a_folder_of_the_zoo_comes_back_from_git():
    with pytest.raises(UserError, match="git checkout zoo/llm-maxi"):
        load_llm("zoo/llm-maxi")
