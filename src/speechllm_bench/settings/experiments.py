"""Studies (`experiments/*.yaml`), and how each variant resolves to a run at the scale of a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from speechllm_bench.errors import MissingInput, NotTestable, UserError
from speechllm_bench.settings import axes as axes_
from speechllm_bench.settings.adapter_config import AdapterConfig
from speechllm_bench.settings.config import CorpusConfig, LoraConfig, RunConfig, StageConfig
from speechllm_bench.settings.evaluation_config import LANGUAGES, EvaluationConfig, TaskName, questions_of
from speechllm_bench.settings.extras import FIGURES, TABLES
from speechllm_bench.settings.profiles import Budget, Profile, refuse_fixed
from speechllm_bench.settings.reported import ClaimConfig, Reported
from speechllm_bench.settings.strict import Name, Prose, Strict, checked, load_yaml, overlay, refuse_repeated
from speechllm_bench.settings.variants import StageRecipe, Variant
from speechllm_bench.tasks import TASKS, USUAL, transcription

if TYPE_CHECKING:  # a type checker cannot compute the names from the lists
    FigureName = str
    TableName = str
else:
    FigureName, TableName = Literal[FIGURES], Literal[TABLES]
VARIANT_SETS = ("all", "telling", "extremes")  # names that select several variants of a study


class Study(Strict):
    study: Name  # the name of its file, without the suffix
    title: Prose  # heading of its tables and of its notebook
    paper: Prose  # arXiv number; `none` for a study of no paper
    question: Prose  # what it asks, for readers
    baseline: str  # the variant that the others are compared with
    other_baselines: list[str] = Field(default_factory=list)  # baselines for variants with other questions
    telling: list[str] = Field(default_factory=list)  # the variants of a short run; empty: all
    extremes: list[str] = Field(min_length=2, max_length=2)  # the two variants that differ most
    n_seeds: int | None = Field(default=None, gt=0)  # number of the profile's seeds to run; None: all
    base: dict  # settings of every variant
    # The study's axes and the values of each. They override those of `experiments/shared/axes.yaml`.
    axes: dict[Name, dict[Name, axes_.Value]] = Field(default_factory=dict)
    # Blocks of variants. A block gives each axis a value, a list of values, or `all` (the study's own ones).
    # It may also have `name` and `label` (templates of its own), and further settings under `set`.
    grid: list[dict[Name, Any]] = Field(default_factory=list)
    names: str | None = None  # template of the names of a grid's variants; null: the values joined by _
    labels: str | None = None  # template of their labels in legends; null: the values joined by a comma
    colour: Name | None = None  # the axis that sets a variant's colour; null: the first axis of `names`
    marker: Name | None = None  # the axis that sets its marker; null: the axis that sets its colour
    variants: dict[Name, dict] = Field(default_factory=dict)  # further variants by name, with their settings
    figures: list[FigureName] = Field(default_factory=list)  # besides learning curves and parameters
    tables: list[TableName] = Field(default_factory=list)  # besides the study's table and that of its claims
    annotates: Literal["traces", "labels"] | None = None  # what the command `annotate` writes for the study
    reported: list[Reported] = Field(default_factory=list)  # figures that the paper reports
    claims: list[ClaimConfig] = Field(default_factory=list)  # claims of the paper that the study tests

    # Each variant's place among the axes, by name. `variants` gets the variants of the grid as well.
    _places: dict[str, axes_.Place] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _unfolded(self) -> Study:
        places = {
            place.name: place for place in axes_.unfolded(self.axes, self.grid, self.names, self.labels)
        }
        for name, changes in self.variants.items():
            if name in places:
                raise ValueError(f"'{name}' is a variant of the grid and stands under variants; name it once")
            places[name] = axes_.alone(name, changes)
        if not places:
            raise ValueError("a study has a grid or variants, and this one has neither")
        self.__dict__["variants"] = {p.name: p.changes for p in places.values()}  # the model is frozen
        self._places = places
        return self._checked()

    def place(self, variant: str) -> axes_.Place:
        return self._places[variant]

    @property
    def baselines(self) -> list[str]:
        return [self.baseline, *self.other_baselines]

    @property
    def tasks(self) -> list[TaskName]:
        """Tasks that the variants are evaluated on, each once."""
        return list(dict.fromkeys(self.variant(name).evaluation.task for name in self.variants))

    def variant(self, name: str) -> Variant:
        """Return the base block, overridden by the variant's own settings. Raises UserError if invalid."""
        if name not in self.variants:
            raise UserError(
                f"study '{self.study}' has no variant '{name}'; its variants are: {', '.join(self.variants)}"
            )
        try:
            whole = overlay(self.base, self.variants[name])
        except ValueError as error:
            raise UserError(f"{self.named(name)}: {error}") from None
        written_at = partial(axes_.written_at, self.place(name), self.base)
        variant = checked(Variant, whole, f"{self.study}.yaml", written_at)
        refuse_fixed(variant.override, f"{self.named(name)}, override")
        return variant

    def named(self, variant: str) -> str:
        """Return a variant's file and name, as error messages give them."""
        return f"{self.study}.yaml, variant '{variant}'"

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return variants by name, in the study's order; `all`, `telling` and `extremes` select several.

        Such a set includes the floors of slot filling on the same questions (protocol, rule 12).
        """
        sets = {"all": list(self.variants), "telling": self.telling or list(self.variants)}
        sets["extremes"] = self.extremes
        wanted = {variant for name in names for variant in sets.get(name, [name])}
        asked = {variant: self.variant(variant).evaluation for variant in self.variants}
        floors = {variant for variant, one in asked.items() if one.answerer in TASKS[USUAL].answerers}
        questions = {questions_of(asked[v]) for name in names for v in sets.get(name, ()) if v not in floors}
        wanted |= {floor for floor in floors if questions_of(asked[floor]) in questions}
        return [variant for variant in self.variants if variant in wanted]

    def compared(self, claim: ClaimConfig, labels: Mapping[str, str] | None = None) -> str:
        """Return the difference that a claim is about, such as "mlp − cnn". labels: of variants, by name."""
        metric = TASKS[self.variant(claim.better).evaluation.task].main
        return claim.difference(labels or {}, metric.lower_is_better)

    def _checked(self) -> Study:
        for names in (self.baselines, self.telling, self.extremes, self.figures, self.tables):
            refuse_repeated(names)
        named = {*self.baselines, *self.telling, *self.extremes} | {r.variant for r in self.reported}
        named |= {n for claim in self.claims for n in claim.variants}
        if unknown := sorted(named - set(self.variants)):
            raise ValueError(
                f"baseline, telling, extremes, reported or claims name {unknown}, "
                f"not among {list(self.variants)}"
            )
        return self


def resolve(profile: Profile, variant: Variant, seed: int, named: str = "variant") -> RunConfig:
    """Return the config of a run: the variant's choices at the profile's scale.

    Raises UserError for conflicting choices; `named` is the variant's name in its sentence.
    """
    where, filed = f"{named} at profile '{profile.profile}'", profile.decoding.max_new_tokens
    profile = profile.overridden(variant.override, f"{where}, override")
    decoding = profile.decoding.model_dump()
    decoded_tokens = None if decoding["max_new_tokens"] == filed else decoding["max_new_tokens"]
    asked = variant.evaluation.model_dump()
    beams, model = asked.pop("beams") or profile.decoding.beams, asked["answerer"] == "model"
    # A model that was trained on traces may write one in any task.
    asked_for = {variant.evaluation.task}.union(*(stage.taught for stage in variant.stages))
    if variant.adapter and variant.adapter not in profile.adapters:
        raise UserError(
            f"profile '{profile.profile}' gives no size for adapter '{variant.adapter}'; "
            f"it has {', '.join(profile.adapters)}"
        )
    if variant.llm and variant.llm not in profile.llms:
        raise NotTestable(
            f"profile '{profile.profile}' names no LLM for the role '{variant.llm}'; {_roles(profile.llms)}"
        )
    evaluation = asked | decoding | {"corpus": _evaluated(profile, variant)}
    evaluation["beams"] = beams if model and beams > 1 else None
    evaluation["engine"] = decoding["engine"] if model else None
    evaluation["trace_tokens"] = decoding["trace_tokens"] if any(TASKS[t].traced for t in asked_for) else None
    stages = [
        _stage(profile, variant, stage, decoded_tokens, where)
        for stage in variant.aligned(profile)
        if _examples(profile, stage.budget)
    ]
    # A turn that is padded to 30 s at once would be recognised again alike.
    reads_asr, padding = "asr" in {asked["text"], *(stage.text for stage in stages)}, profile.encoder.padding
    parts = {
        "corpus": _corpus(profile, variant.corpus) if variant.corpus else profile.corpus,
        "encoder": profile.encoder,
        "llm": profile.llms[variant.llm] if variant.llm else profile.llm,
        "adapter": _adapter(profile, variant, where) if variant.adapter else None,
        "audio_llm": _audio_llm(profile, variant.audio_llm),
        "lora": _lora(profile, variant),
        "stages": stages,
        "evaluation": checked(EvaluationConfig, evaluation, f"{where}, evaluation"),
        "precision": profile.precision,
        "seed": seed,
        "prompt": profile.prompt,
        "asr_fallback": profile.asr_fallback if reads_asr and profile.asr_fallback != padding else None,
    }
    return checked(RunConfig, parts, where)


def _corpus(profile: Profile, role: str) -> CorpusConfig:
    if role not in profile.corpora:
        raise NotTestable(
            f"profile '{profile.profile}' names no corpus for the role '{role}'; {_roles(profile.corpora)}"
        )
    return profile.corpora[role]


def _roles(named: Mapping[str, object]) -> str:
    """Return the end of a sentence on a missing role, with the roles that the profile names."""
    return f"its roles are: {', '.join(named)}" if named else "it names none"


def _evaluated(profile: Profile, variant: Variant) -> CorpusConfig | None:
    """Return the corpus of the test set where a variant names one. None: the training corpus.

    Turns in other languages come from the profile's role `languages`; without it they are synthesised.
    """
    asked = variant.evaluation
    if asked.corpus is None:
        return profile.corpora.get("languages") if asked.split in LANGUAGES else None
    return _corpus(profile, asked.corpus)


def _adapter(profile: Profile, variant: Variant, where: str) -> AdapterConfig:
    assert variant.adapter
    try:
        adapter = profile.adapters[variant.adapter].at_width(variant.width_factor)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return adapter.model_copy(update={"scaled": True}) if variant.scaled else adapter


def _lora(profile: Profile, variant: Variant) -> LoraConfig | None:
    of_llm = profile.loras.get(variant.llm or "", profile.lora)
    return profile.lora_qkv if variant.lora == "qkv" else of_llm if variant.lora else None


def _audio_llm(profile: Profile, named: bool | str) -> str | None:
    if named is False:
        return None
    found = profile.audio_llm if named is True else profile.audio_llms.get(named)
    if found is None:
        role = "" if named is True else f" for the role '{named}'"
        raise NotTestable(f"profile '{profile.profile}' names no audio LLM{role}")
    return found


def _stage(
    profile: Profile, variant: Variant, stage: StageRecipe, decoded_tokens: int | None, where: str
) -> StageConfig:
    """Return a stage at the profile's scale. decoded_tokens: limit of its curve, if overridden."""
    training = profile.training.model_dump()
    factor = variant.lr_factor * stage.lr_factor
    lr, lora_lr = (factor * training.pop(name) for name in ("lr", "lora_lr"))
    asked = stage.decoded_task or (transcription.NAME if stage.objective == "ctc" else USUAL)
    if not training.pop("decoded_early") and asked not in stage.taught:
        training["decoded_turns"] = 0
    if training["decoded_turns"] and stage.objective is None:  # CTC's curve comes from its head
        training["decoded_tokens"] = decoded_tokens
    if variant.adapter is None or variant.audio_llm or stage.reads:  # no encoder frames
        training["frame_shift"] = None
    training["lr"] = variant.lora_factor * lora_lr if "lora" in stage.train else lr
    if variant.separate_rates and {"adapter", "lora"} == set(stage.train):
        training["adapter_lr"] = lr
    if variant.warmup_ratio is not None:
        training["warmup_ratio"] = variant.warmup_ratio
    if stage.objective == "ctc":
        training |= _warm_start(profile)
    if any(TASKS[task].traced for task in stage.taught):
        training["trace_tokens"] = profile.decoding.trace_tokens
    if any(TASKS[task].put for task in stage.taught):  # these tasks ask stored questions
        training["traces"] = profile.traces
    beside = None
    if stage.beside is not None:
        beside = {task: _examples(profile, b) for task, b in stage.beside.items()}
    shared = stage.model_dump(exclude={"budget", "times", "lr_factor", "beside", "train_share"})
    if stage.annotation and stage.annotation.noise is None:
        if profile.labels is None:
            raise MissingInput(
                f"profile '{profile.profile}' names no labels of an annotator; write some with "
                "`speechllm-bench annotate labels`"
            )
        shared["annotation"]["stored"] = profile.labels
    own = round(stage.times * _examples(profile, stage.budget))
    sizes = {
        "examples": own * (2 if stage.again else 1) + sum((beside or {}).values()),
        "beside": beside,
        "train_share": stage.train_share or variant.train_share,
    }
    return checked(StageConfig, sizes | shared | training, f"{where}, stage '{stage.name}'")


def _warm_start(profile: Profile) -> dict:
    """Return a warm start's own settings. No variant changes them, so all with one adapter share it."""
    own, ratio = profile.warm_start, profile.training.warmup_ratio
    assert own, "a stage has this objective only where the profile has a warm start"
    return {"batch_size": own.batch_size, "lr": own.lr, "frame_dropout": own.dropout, "warmup_ratio": ratio}


def _examples(profile: Profile, budget: Sequence[Budget]) -> int:
    """Return the sum of the named budgets; 0 if the profile has no such stage."""
    sizes = dict(profile.budgets) | {"warm_start": profile.warm_start.examples if profile.warm_start else 0}
    return sum(sizes[name] for name in budget)


def refuse_idle(study: Study, name: str, profile: Profile, config: RunConfig) -> None:
    """Raise UserError if an override in a variant's own block does not change its config.

    An example is `lora.rank` without LoRA: the row would have a false name. An override that repeats the
    profile's value is allowed.
    """
    variant = study.variant(name)
    for key in study.variants[name].get("override", {}):
        rest = {k: value for k, value in variant.override.items() if k != key}
        without = variant.model_copy(update={"override": rest})
        if resolve(profile, without, config.seed, study.named(name)) != config:
            continue
        if profile.overridden({key: variant.override[key]}, study.named(name)) != profile:
            raise UserError(
                f"{study.named(name)}: override '{key}' (value {variant.override[key]!r}) changes nothing of "
                f"its run at profile '{profile.profile}'; leave it out, or override what the variant uses"
            )


def load_study(path: Path) -> Study:
    """Return a study after a check of all its variants. Raises UserError for an invalid one."""
    study = load_yaml(Study, path)
    for name in study.variants:
        study.variant(name)
    return study
