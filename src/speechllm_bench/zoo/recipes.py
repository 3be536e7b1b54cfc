"""The zoo's recipes: one YAML a backbone in experiments/zoo."""

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

    autocast: bool = False  # bf16 on fp32 weights, where that is safe

    @property
    def in_bf16(self) -> bool:
        """Whether it is trained so here: a CPU that has it is about 1.7 times as fast, one that emulates it
        takes 7 times as long or more.
        """
        import torch

        return self.autocast and torch.cpu._is_avx512_bf16_supported()


class PostTraining(Phase):
    """One phase of post-training: extraction of a record's fields, and verbatim repetition."""

    name: str
    first: int  # number of its first example; phases that share examples differ in the settings below
    repeated: float  # share of the examples that ask for repetition
    renamed: float  # share of the fields that bear a name drawn at random
    rare: float  # share of rare words in such names
    typed: float = 0.0  # share of the fields whose name ends in what the value is ("river city")
    closed: float = (
        0.0  # share of the extractions that ask for absent fields too; the speaker says "only that"
    )
    related: float = 0.0  # share of the records whose fields only the wording tells apart
    soft: bool  # text in pieces, blurred and noisy (`texts/soft_reading.py`)

    def shares(self) -> dict[str, float]:
        return {k: getattr(self, k) for k in ("repeated", "renamed", "rare", "typed", "closed", "related")}


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
    pre_training: Phase
    sequence_tokens: int  # of one packed pre-training example
    marked: float = 0.0  # share of the plain text that is lines of marks (`texts/written.py`)
    post_training: list[PostTraining]  # from easy to hard; none: a base LLM alone, without a chat format

    def phases(self) -> dict[str, Phase]:
        return {"pre_training": self.pre_training} | {phase.name: phase for phase in self.post_training}


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
    training: Phase
    finishing: Phase  # the same again, from a lower peak of the learning rate
    lengthening: Phase  # longer readings (`readings.LONG`)
    varying: Phase  # longer ones, many of them words in no order (`readings.VARIED`)
    polishing: Phase  # fewer of those (`readings.MIXED`)

    def phases(self) -> dict[str, Phase]:
        names = ("training", "finishing", "lengthening", "varying", "polishing")
        return {name: getattr(self, name) for name in names}


class PreTraining(Phase):
    """One phase of an audio LLM's pre-training."""

    name: str
    tasks: dict[Literal["transcription", "repetition", "extraction"], float]  # share of the examples by task


class AudioLLMRecipe(Strict):
    """A small Qwen2-Audio, grown from a Whisper's encoder and a Llama."""

    name: str
    seed: int
    encoder: str  # becomes the audio tower, and stays as it is
    llm: str  # becomes the language model
    blocks: int = Field(gt=0)  # of the language model for each one of the llm
    readings: dict[Literal["short", "mixed"], int]  # utterances to write down, by manner (`readings.py`)
    records: int  # spoken ones, of which fields are asked for
    repetitions: int  # texts, read and to be repeated
    renamed: float  # these five as `PostTraining` has them
    rare: float
    typed: float
    closed: float
    related: float
    pre_training: list[PreTraining]  # none: the model as it is grown

    def phases(self) -> dict[str, Phase]:
        return {phase.name: phase for phase in self.pre_training}

    def shares(self) -> dict[str, float]:
        return {k: getattr(self, k) for k in ("renamed", "rare", "typed", "closed", "related")}

    @property
    def utterances(self) -> int:
        """That are heard: of the zoo split."""
        return sum(self.readings.values()) + self.records


Kind = Literal["instruct", "think", "no_think", "general"]
"""What a mixture is made of: extraction and repetition, problems with and without their steps, plain text."""


class MixtureRecipe(Fit):
    """A post-training of a published base on one mixture, all of it at once.

    Post-trainings of one base are compared at equal tokens (protocol, rule 9): `tokens` are those of
    prompts, texts and answers together, and `mixture` has each kind's share of them.
    """

    name: str
    base: str  # what it starts from, and whose tokenizer it has
    seed: int
    utterances: int  # of the zoo split, as in the base's recipe
    marked: float  # of its plain text, as in the base's recipe
    tokens: int = Field(gt=0)
    mixture: dict[Kind, float]
    # Settings of the extraction examples as `PostTraining` has them; every example draws one of these.
    instructions: list[dict[Literal["repeated", "renamed", "rare", "typed", "closed", "related"], float]]
    sequence_tokens: int  # of one packed row of plain text
    autocast: bool = False

    @model_validator(mode="after")
    def _shares(self) -> MixtureRecipe:
        if abs(sum(self.mixture.values()) - 1) > 1e-9 or min(self.mixture.values()) <= 0:
            raise ValueError(f"the mixture has shares above 0 that sum to 1, got {self.mixture}")
        return self

    @property
    def switched(self) -> bool:
        """Whether it learns both to think and not to, so that a switch in the prompt has to say which."""
        return {"think", "no_think"} <= self.mixture.keys()

    def fit(self, examples: int) -> Phase:
        """The post-training as `training.loop.fit` takes it, once its tokens are counted in examples."""
        of_phase = self.model_dump(include={*Phase.model_fields})
        return Phase(examples=examples, **of_phase)


class SmallerRecipe(MixtureRecipe):
    """The same for a smaller Llama, which is pre-trained first, with the base's tokenizer and as it was."""

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
"""What is shipped, and the recipe that makes it."""


def load_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise UserError(f"the zoo has no recipe '{name}'; choose one of {', '.join(RECIPES)}")
    return load_yaml(RECIPES[name], paths.EXPERIMENTS / "zoo" / f"{name}.yaml")


def folder(name: str) -> Path:
    return paths.PROJECT / "zoo" / name
