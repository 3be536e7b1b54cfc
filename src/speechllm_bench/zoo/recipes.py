"""The zoo's recipes, one YAML per backbone in experiments/zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import Fit, FitConfig
from speechllm_bench.settings.strict import Strict, load_yaml
from speechllm_bench.storage import paths


class Phase(FitConfig):
    """One phase of a backbone's training."""

    autocast: bool = False  # bf16 on fp32 weights, where the CPU supports it

    @property
    def in_bf16(self) -> bool:
        """Whether this machine trains the phase in bf16.

        A CPU with bf16 instructions is about 1.7 times as fast. One that emulates bf16 takes
        7 times as long or more.
        """
        import torch

        return self.autocast and torch.cpu._is_avx512_bf16_supported()


class FieldShares(Strict):
    """How the fields of records are named and asked for, as the shares of `written.extraction`."""

    renamed: float  # of the fields, that have a random name
    rare: float  # of rare words in such names
    typed: float = 0.0  # of the fields, whose name ends in the type of the value ("river city")
    closed: float = 0.0  # of the extractions, that ask for absent fields too; the speaker says "only that"
    related: float = 0.0  # of the records, whose fields only the wording tells apart

    def shares(self) -> dict[str, float]:
        return self.model_dump(include={*FieldShares.model_fields})


class PostTraining(Phase, FieldShares):
    """One phase of post-training: extraction of a record's fields, and verbatim repetition."""

    name: str
    first: int  # index of its first example; phases that share examples differ in other settings
    repeated: float  # share of the examples that ask for repetition
    soft: bool  # text in blurred and noisy pieces (`texts/soft_reading.py`)


class LLMRecipe(Strict):
    """A small Llama. Sizes have the names of transformers' LlamaConfig."""

    name: str
    seed: int
    utterances: int  # of the zoo split, for plain text and repetition
    vocabulary: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    pre_training: Phase
    sequence_tokens: int  # length of one packed pre-training example
    marked: float = 0.0  # share of the plain text that is lines of marks (`texts/written.py`)
    post_training: list[PostTraining]  # from easy to hard; empty: only a base LLM, without a chat format

    def phases(self) -> dict[str, Phase]:
        return {"pre_training": self.pre_training} | {phase.name: phase for phase in self.post_training}


class WhisperRecipe(Strict):
    """A small Whisper. Sizes have the names of transformers' WhisperConfig."""

    name: str
    seed: int
    utterances: int  # read aloud by the voices of the zoo split
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
    training: Phase
    finishing: Phase  # as `training`, from a lower peak of the learning rate
    lengthening: Phase  # longer readings (`readings.LONG`)
    varying: Phase  # longer ones, many of them words in random order (`readings.VARIED`)
    polishing: Phase  # fewer of those (`readings.MIXED`)

    def phases(self) -> dict[str, Phase]:
        return {name: phase for name, phase in self if isinstance(phase, Phase)}


class PreTraining(Phase):
    """One phase of an audio LLM's pre-training."""

    name: str
    tasks: dict[Literal["transcription", "repetition", "extraction"], float]  # task -> share of the examples


class AudioLLMRecipe(FieldShares):
    """A small Qwen2-Audio, built from a Whisper's encoder and a Llama."""

    name: str
    seed: int
    encoder: str  # becomes the audio tower, which stays frozen
    llm: str  # becomes the language model
    blocks: int = Field(gt=0)  # of the language model per block of the llm
    readings: dict[Literal["short", "mixed"], int]  # utterances to transcribe, by manner (`readings.py`)
    records: int  # spoken records for extraction
    repetitions: int  # texts to repeat
    pre_training: list[PreTraining]  # empty: the model without training

    def phases(self) -> dict[str, Phase]:
        return {phase.name: phase for phase in self.pre_training}

    @property
    def utterances(self) -> int:
        """Return the number of utterances that are heard, all of the zoo split."""
        return sum(self.readings.values()) + self.records


Kind = Literal["instruct", "think", "no_think", "general"]
"""Kinds in a mixture: extraction and repetition, problems with and without their steps, plain text."""


class MixtureRecipe(Fit):
    """A post-training of a published base on one mixture, in a single phase.

    Post-trainings of one base are compared at equal tokens (protocol, rule 9). `tokens` counts prompts, texts
    and answers together. `mixture` has the share of each kind.
    """

    name: str
    base: str  # provides the initial weights and the tokenizer
    seed: int
    utterances: int  # of the zoo split, as in the base's recipe
    marked: float  # of its plain text, as in the base's recipe
    tokens: int = Field(gt=0)
    mixture: dict[Kind, float]
    # Settings of the extraction examples as in `PostTraining`; examples take these in turn.
    instructions: list[dict[Literal["repeated", "renamed", "rare", "typed", "closed", "related"], float]]
    sequence_tokens: int  # length of one packed row of plain text
    autocast: bool = False

    @model_validator(mode="after")
    def _shares(self) -> MixtureRecipe:
        if abs(sum(self.mixture.values()) - 1) > 1e-9 or min(self.mixture.values()) <= 0:
            raise ValueError(f"the mixture has shares above 0 that sum to 1, got {self.mixture}")
        return self

    @property
    def switched(self) -> bool:
        """Whether the mixture has thinking and no thinking, so that the prompt needs a switch."""
        return {"think", "no_think"} <= self.mixture.keys()

    def fit(self, examples: int) -> Phase:
        """Return the post-training as a phase for `training.loop.fit`, given its number of examples."""
        of_phase = self.model_dump(include={*Phase.model_fields})
        return Phase(examples=examples, **of_phase)


class SmallerRecipe(MixtureRecipe):
    """A mixture for a smaller Llama.

    It is first pre-trained, with the base's tokenizer and in the same way.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    pre_training: Phase


Recipe = AudioLLMRecipe | LLMRecipe | MixtureRecipe | WhisperRecipe
RECIPES: dict[str, type[Recipe]] = {
    "audio-llm-mini": AudioLLMRecipe,
    "audio-llm-mini-fresh": AudioLLMRecipe,
    "audio-llm-mini-small": AudioLLMRecipe,
    "llm-micro-hybrid": SmallerRecipe,
    "llm-mini": LLMRecipe,
    "llm-mini-hybrid": MixtureRecipe,
    "llm-mini-instruct": MixtureRecipe,
    "llm-mini-plain": LLMRecipe,
    "llm-mini-reasoning": MixtureRecipe,
    "llm-mini-reasoning-0": MixtureRecipe,
    "llm-mini-reasoning-50": MixtureRecipe,
    "llm-nano-hybrid": SmallerRecipe,
    "whisper-mini": WhisperRecipe,
}
BACKBONES = {"llm-mini-base": "llm-mini"} | {name: name for name in RECIPES}
"""Shipped backbone -> recipe that makes it."""


def load_recipe(name: str) -> Recipe:
    """Return a recipe by name. UserError, which names the recipes, for an unknown one."""
    if name not in RECIPES:
        raise UserError(f"the zoo has no recipe '{name}'; choose one of {', '.join(RECIPES)}")
    return load_yaml(RECIPES[name], paths.EXPERIMENTS / "zoo" / f"{name}.yaml")


def folder(name: str) -> Path:
    return paths.PROJECT / "zoo" / name
