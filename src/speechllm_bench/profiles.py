"""Profiles: the scales of the suite, `experiments/profiles/*.yaml`. A study is resolved at one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from speechllm_bench.config import (
    AdapterConfig,
    CorpusConfig,
    EncoderConfig,
    LoraConfig,
    Precision,
    PromptStyle,
    Seed,
)
from speechllm_bench.strict import Name, Prose, Strict, load_yaml, refuse_repeated

Budget = Literal["alignment", "slots", "transcription", "understanding", "warm_start"]
PROFILES = ("smoke", "mini", "small", "paper")


class Training(Strict):
    """A profile's training settings, scale-bound; a variant may scale the rates or name another warm-up."""

    batch_size: int
    lr: float
    lora_lr: float  # of stages that train LoRA
    warmup: float
    weight_decay: float
    clip: float
    points: int
    validation_examples: int
    decoded_turns: int
    decoded_early: bool = True  # whether a stage is decoded that does not teach what it would be asked


class Decoding(Strict):
    batch_size: int
    max_new_tokens: int
    trace_tokens: int  # in its place where an answer may have a trace
    beams: int = Field(1, ge=1)  # 1: greedy


class Budgets(Strict):
    """Examples seen in a stage, the same for every variant of a study. 0: the profile has no such stage.

    `alignment` is transcription before slots that an embedded LLM needs where a paper has no such stage.
    `understanding` follows transcription in 2509.04473: entities, sentiment, or all tasks at once.
    """

    alignment: int = Field(ge=0)
    transcription: int = Field(ge=0)
    slots: int = Field(ge=0)
    understanding: int = Field(ge=0)


class WarmStart(Strict):
    """The size of a CTC warm start, in which the adapter learns without the LLM (training/warm_start.py)."""

    examples: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)
    dropout: float | None = Field(None, gt=0, lt=1)  # of the frames; None: none
    everywhere: bool = False  # whether every trained adapter begins with it, not only where a study says so


class PaperOwn(Strict):
    """What the studies of one paper have in place of the profile's; None: the profile's."""

    corpus: CorpusConfig | None = None
    encoder: EncoderConfig | None = None
    llm: str | None = None
    budgets: Budgets | None = None
    warm_start: WarmStart | None = None
    training: Training | None = None
    decoding: Decoding | None = None
    traces: str | None = None


class Profile(Strict):
    """One scale of the suite: models, data, budgets and the hyperparameters bound to scale."""

    profile: Literal["smoke", "mini", "small", "paper"]
    note: Prose  # what its numbers are good for
    corpus: CorpusConfig
    encoder: EncoderConfig
    llm: str
    llms: dict[Name, str] = Field(default_factory=dict)  # others, by the roles that studies name
    papers: dict[str, PaperOwn] = Field(default_factory=dict)  # by arXiv number, as studies name their paper
    audio_llm: str | None = None  # None: variants with one are left out
    audio_llms: dict[Name, str] = Field(default_factory=dict)  # others, by the roles that studies name
    adapters: dict[Name, AdapterConfig]  # by the names that studies use
    lora: LoraConfig
    loras: dict[Name, LoraConfig] = Field(default_factory=dict)  # of roles in `llms` of another size
    lora_qkv: LoraConfig  # on queries, keys and values alone (2509.04473)
    budgets: Budgets
    warm_start: WarmStart | None = None  # None: the profile has no such stage
    training: Training
    decoding: Decoding
    precision: Precision
    prompt: PromptStyle | None = None  # wording of the prompts; None: the terse one of the embedded LLMs
    # That `annotate traces` wrote; None: traces are written from gold. Named for 2510.19326 under `papers`:
    # where a turn has a stored trace its question is the one that is asked, whatever is to be said to it.
    traces: str | None = None
    labels: str | None = (
        None  # that `annotate labels` wrote, for variants whose annotation has no drawn noise
    )
    seeds: list[Seed] = Field(min_length=1)
    headline: list[Name]  # the studies that plain `make` runs
    variants: Literal["all", "telling"]  # of a study, where none are named
    examples_per_second: float = Field(gt=0)  # of one training, for the estimate until one is recorded
    time_limit_minutes: int = Field(gt=0)  # of one run's process

    @model_validator(mode="after")
    def _roles(self) -> Profile:
        if unknown := sorted(set(self.loras) - set(self.llms)):
            raise ValueError(f"loras are of roles in llms, but name {unknown}, not among {list(self.llms)}")
        for names in (self.seeds, self.headline):
            refuse_repeated(names)
        return self

    def of(self, paper: str) -> Profile:
        """This profile as the studies of a paper see it."""
        own = self.papers.get(paper, PaperOwn())
        return self.model_copy(update={name: value for name, value in own if value is not None})


def load_profile(path: Path) -> Profile:
    return load_yaml(Profile, path)
