"""Typed configuration: a profile and a study's variant resolve to one `RunConfig`, all there is to a run.

An unknown key, a wrong type or a conflict is refused by a sentence with key, value and what is allowed.
Nothing here rewrites what was asked for: the resolved config is what runs, and what is recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from speechllm_bench.errors import UserError
from speechllm_bench.strict import Strict, checked, load_yaml

AdapterKind = Literal["cnn", "cnn_xl", "linear", "mlp", "transformer"]
TaskName = Literal["slots", "transcription"]
Part = Literal["adapter", "lora"]
Budget = Literal["alignment", "slots", "transcription"]
Answerer = Literal["model", "chance_copier"]  # evaluation/chance.py: who answers without a model
PROFILES = ("smoke", "mini", "paper")


class CorpusConfig(Strict):
    name: Literal["call_centre", "slurp"]
    sizes: dict[str, int] = Field(default_factory=dict)  # caller turns a split; empty: all there are


class EncoderConfig(Strict):
    path: str  # a zoo folder of this checkout, any other folder, or a hub name
    padding: Literal["trimmed", "30s"]  # feed Whisper the audio's own length, or always 30 s


class AdapterConfig(Strict):
    """Sizes of one adapter (2510.15851, section 3.3). Every kind shortens the frames 8 times."""

    kind: AdapterKind
    width: int = Field(gt=0)  # hidden channels or units; of the Linear adapter unused and given as 1
    layers: int = Field(default=0, ge=0)  # hidden layers of the MLP, layers of the Transformer
    heads: int = Field(default=0, ge=0)  # Transformer alone
    feed_forward: int = Field(default=0, ge=0)  # Transformer alone
    pre_norm: bool = False  # Transformer alone: normalise before each sublayer, not after


class LoraConfig(Strict):
    rank: int = Field(gt=0)
    alpha: int = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)


class FitConfig(Strict):
    """How one optimisation runs; the studies' stages and the zoo's backbones share it."""

    examples: int = Field(gt=0)  # the budget: examples seen
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)  # peak
    warmup: float = Field(ge=0, lt=1)  # share of the steps
    weight_decay: float = Field(ge=0)
    clip: float = Field(gt=0)  # gradient norm
    points: int = Field(gt=0)  # validations on the way, evenly spaced, the last at the end


class StageConfig(FitConfig):
    """One training stage: which examples, which parts learn, for how long."""

    name: str
    tasks: dict[TaskName, float]  # share of the examples by task
    train: list[Part] = Field(min_length=1)
    validation_examples: int = Field(gt=0)  # for the loss
    decoded_turns: int = Field(ge=0)  # validation turns decoded for the F1 curve

    @model_validator(mode="after")
    def _shares(self) -> StageConfig:
        if abs(sum(self.tasks.values()) - 1) > 1e-9 or min(self.tasks.values()) <= 0:
            raise ValueError(f"tasks are shares above 0 that sum to 1, got {self.tasks}")
        return self


class EvaluationConfig(Strict):
    split: Literal["validation", "A-test", "B-test"]
    task: TaskName = "slots"
    slot_types: Literal["in_domain", "out_of_domain"] = "in_domain"
    audio: Literal["own", "other"] = "own"  # other: another turn's audio, the `no audio` control
    answerer: Answerer = "model"
    batch_size: int = Field(gt=0)
    max_new_tokens: int = Field(gt=0)


class RunConfig(Strict):
    """Everything that decides a run's numbers. Two studies that resolve to the same one share its run."""

    corpus: CorpusConfig
    encoder: EncoderConfig
    llm: str
    adapter: AdapterConfig | None  # None: no speech, the LLM reads the gold transcript
    lora: LoraConfig | None
    stages: list[StageConfig]  # none: the backbones as they are
    evaluation: EvaluationConfig
    precision: Literal["fp32", "bf16"]
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _parts(self) -> RunConfig:
        if self.lora is None and any("lora" in stage.train for stage in self.stages):
            raise ValueError("a stage trains lora, but lora is off for this variant")
        if self.adapter is None and any("adapter" in stage.train for stage in self.stages):
            raise ValueError("a stage trains the adapter, but adapter is null for this variant")
        if self.adapter is None and self.evaluation.audio == "other":
            raise ValueError("audio: other needs an adapter, since without one nothing is heard")
        return self


class Training(Strict):
    """A profile's training settings, scale-bound; a variant may name another learning rate or warm-up."""

    batch_size: int
    lr: float
    lora_lr: float  # of stages that train LoRA
    warmup: float
    weight_decay: float
    clip: float
    points: int
    validation_examples: int
    decoded_turns: int


class Decoding(Strict):
    batch_size: int
    max_new_tokens: int


class Budgets(Strict):
    """Examples seen in a stage, the same for every variant of a study. 0: the profile has no such stage.

    `alignment` is transcription before slots where the LLM stays frozen; the papers have none.
    """

    alignment: int = Field(ge=0)
    transcription: int = Field(ge=0)
    slots: int = Field(ge=0)


class Profile(Strict):
    """One scale of the suite: models, data, budgets and the hyperparameters bound to scale."""

    profile: Literal["smoke", "mini", "paper"]
    note: str  # what its numbers are good for
    corpus: CorpusConfig
    encoder: EncoderConfig
    llm: str
    adapters: dict[str, AdapterConfig]  # by the names that studies use
    lora: LoraConfig
    budgets: Budgets
    training: Training
    decoding: Decoding
    precision: Literal["fp32", "bf16"]
    seeds: list[int] = Field(min_length=1)
    headline: list[str]  # the studies that plain `make` runs
    time_limit_minutes: int = Field(gt=0)  # of one run's process


class StageRecipe(Strict):
    """A stage as a study names it: its budget is the sum of the profile's budgets named.

    Where that is 0 the profile has no such stage.
    """

    name: str
    tasks: dict[TaskName, float]
    train: list[Part] = Field(min_length=1)
    budget: list[Budget] = Field(min_length=1)


class EvaluationRecipe(Strict):
    split: Literal["validation", "A-test", "B-test"] = "A-test"
    task: TaskName = "slots"
    slot_types: Literal["in_domain", "out_of_domain"] = "in_domain"
    audio: Literal["own", "other"] = "own"
    answerer: Answerer = "model"


class Variant(Strict):
    """The settings a study can vary."""

    adapter: str | None  # of the profile's; null: the LLM reads the gold transcript
    lora: bool
    stages: list[StageRecipe]
    evaluation: EvaluationRecipe = EvaluationRecipe()
    lr: float | None = None  # None: the profile's
    warmup: float | None = None


class Reported(Strict):
    """A figure that a paper reports; data with its source, never a result of ours."""

    variant: str
    metric: Literal["precision", "recall", "f1"]
    value: float
    source: str


class ClaimConfig(Strict):
    """What a paper says, as an ordering of two variants by partial-match F1.

    With `beyond`, another (better, worse) pair: that the first pair lies further apart than this one.
    """

    claim: str
    source: str
    better: str
    worse: str
    beyond: list[str] | None = Field(None, min_length=2, max_length=2)

    @property
    def compared(self) -> str:
        first = f"{self.better} − {self.worse}"
        return f"({first}) − ({self.beyond[0]} − {self.beyond[1]})" if self.beyond else first


class Study(Strict):
    study: str
    title: str
    paper: str
    question: str
    baseline: str  # the variant that the others are compared with
    base: dict
    variants: dict[str, dict]
    reported: list[Reported]
    claims: list[ClaimConfig]

    def variant(self, name: str) -> Variant:
        """The base block with the variant's own settings laid over it."""
        if name not in self.variants:
            raise UserError(
                f"study '{self.study}' has no variant '{name}'; its variants are: {', '.join(self.variants)}"
            )
        where = f"variant '{name}' of study '{self.study}'"
        return checked(Variant, _overlay(self.base, self.variants[name]), where)

    @model_validator(mode="after")
    def _names(self) -> Study:
        named = {self.baseline} | {r.variant for r in self.reported}
        named |= {n for claim in self.claims for n in (claim.better, claim.worse, *(claim.beyond or ()))}
        if unknown := sorted(named - set(self.variants)):
            raise ValueError(f"baseline, reported or claims name {unknown}, not among {list(self.variants)}")
        return self


def resolve(profile: Profile, variant: Variant, seed: int) -> RunConfig:
    """The one config of a run: the variant's choices at the profile's scale."""
    training = profile.training.model_dump()
    lora_lr = training.pop("lora_lr")
    asked = {k: v for k in ("lr", "warmup") if (v := getattr(variant, k)) is not None}
    if variant.adapter and variant.adapter not in profile.adapters:
        raise UserError(
            f"profile '{profile.profile}' gives no size for adapter '{variant.adapter}'; "
            f"it has {', '.join(profile.adapters)}"
        )
    return RunConfig(
        corpus=profile.corpus,
        encoder=profile.encoder,
        llm=profile.llm,
        adapter=profile.adapters[variant.adapter] if variant.adapter else None,
        lora=profile.lora if variant.lora else None,
        stages=[
            StageConfig(
                name=stage.name,
                tasks=stage.tasks,
                train=stage.train,
                examples=examples,
                **training | ({"lr": lora_lr} if "lora" in stage.train else {}) | asked,
            )
            for stage in variant.stages
            if (examples := sum(getattr(profile.budgets, name) for name in stage.budget))
        ],
        evaluation=EvaluationConfig(**variant.evaluation.model_dump(), **profile.decoding.model_dump()),
        precision=profile.precision,
        seed=seed,
    )


def load_profile(path: Path) -> Profile:
    return load_yaml(Profile, path)


def load_study(path: Path) -> Study:
    """A study whose every variant has been checked."""
    study = load_yaml(Study, path)
    for name in study.variants:
        study.variant(name)
    return study


def _overlay(base: dict, change: dict) -> dict:
    """`change` laid over `base`, dictionaries merged key by key; anything else is replaced."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _overlay(base[key], value) if both else value
    return merged
