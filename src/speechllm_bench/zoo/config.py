"""The zoo's recipes: one YAML a backbone in experiments/zoo."""

from __future__ import annotations

from pathlib import Path

from speechllm_bench import paths
from speechllm_bench.config import FitConfig
from speechllm_bench.errors import UserError
from speechllm_bench.strict import Strict, load_yaml


class LLMRecipe(Strict):
    """A small Llama: sizes as transformers' LlamaConfig names them."""

    name: str
    seed: int
    utterances: int  # of the zoo split, for plain text and repetition
    vocabulary: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    pre_training: FitConfig
    sequence_tokens: int  # of one packed pre-training example
    post_training: FitConfig  # fields of the record worlds by their own names
    renaming: FitConfig  # most fields under names drawn at random
    renamed: float  # share of the fields in that phase
    soft_reading: FitConfig  # the same from text in pieces, blurred and noisy (`soft_reading.py`)
    soft_renamed: float  # share of renamed fields in that phase
    soft_repeated: float  # share of its examples that ask for verbatim repetition


class WhisperRecipe(Strict):
    """A small Whisper: sizes as transformers' WhisperConfig names them."""

    name: str
    seed: int
    utterances: int  # read aloud by the zoo split's voices
    validation_utterances: int
    vocabulary: int  # of the decoder
    d_model: int
    encoder_layers: int
    encoder_attention_heads: int
    encoder_ffn_dim: int
    decoder_layers: int
    decoder_attention_heads: int
    decoder_ffn_dim: int
    dropout: float
    training: FitConfig
    finishing: FitConfig  # the same again, from a lower peak of the learning rate
    lengthening: FitConfig  # longer readings (`reading.LONG`)
    varying: FitConfig  # longer ones, many of them words in no order (`reading.VARIED`)


RECIPES = {"llm-mini": LLMRecipe, "whisper-mini": WhisperRecipe}
BACKBONES = {"llm-mini": "llm-mini", "llm-mini-base": "llm-mini", "whisper-mini": "whisper-mini"}
"""What is shipped, and the recipe that makes it."""


def load_recipe(name: str) -> LLMRecipe | WhisperRecipe:
    if name not in RECIPES:
        raise UserError(f"the zoo has no recipe '{name}'; choose one of {', '.join(RECIPES)}")
    return load_yaml(RECIPES[name], paths.EXPERIMENTS / "zoo" / f"{name}.yaml")


def folder(name: str) -> Path:
    return paths.PROJECT / "zoo" / name
