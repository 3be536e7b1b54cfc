"""Profiles: the scales of the suite, `experiments/profiles/*.yaml`. A study is resolved at one of them.

A profile that says `extend: mini` lays its own settings over those of profile mini. A file whose name begins
with `_` is no profile; others may extend it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr, model_validator

from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings import catalogue
from speechllm_bench.settings.adapter_config import AdapterConfig
from speechllm_bench.settings.config import (
    CorpusConfig,
    EncoderConfig,
    Fit,
    LoraConfig,
    Precision,
    PromptStyle,
    Seed,
)
from speechllm_bench.settings.overrides import Settings, base_profile, replaced, with_settings
from speechllm_bench.settings.strict import Name, Prose, Strict, checked, content_of, overlay, refuse_repeated

Budget = Literal["alignment", "slots", "transcription", "understanding", "warm_start"]


class Training(Fit):
    """A profile's training settings, scale-bound; a variant may scale the rates or name another warm-up."""

    # Examples at a time, whose gradients are summed; None: the whole batch.
    micro_batch: int | None = Field(default=None, gt=0)
    lora_lr: float = Field(gt=0)  # of stages that train LoRA
    validation_examples: int = Field(gt=0)
    decoded_turns: int = Field(ge=0)
    frame_shift: int | None = Field(default=None, gt=1)  # of composite models (`StageConfig.frame_shift`)
    decoded_early: bool = True  # whether a stage is decoded that does not teach what it would be asked


class Decoding(Strict):
    batch_size: int = Field(gt=0)
    max_new_tokens: int = Field(gt=0)
    trace_tokens: int = Field(gt=0)  # in its place where an answer may have a trace
    beams: int = Field(default=1, ge=1)  # 1: greedy


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
    """The size of a CTC warm start, in which the adapter learns without the LLM (training/ctc_stage.py)."""

    examples: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)
    dropout: float | None = Field(default=None, gt=0, lt=1)  # of the frames; None: none
    everywhere: bool = False  # whether every trained adapter begins with it, not only where a study says so


FIXED = {
    *("profile", "note", "papers", "seeds", "headline", "variants"),
    *("examples_per_second", "time_limit_minutes"),
}
"""What a profile says of itself and of how it is run; no override changes it."""


def refuse_fixed(settings: Settings, where: str) -> None:
    """UserError where a path does not begin with a setting that overrides may change."""
    allowed = [name for name in Profile.model_fields if name not in FIXED]
    for path in settings:
        if not isinstance(path, str) or path.split(".")[0] not in allowed:
            raise UserError(
                f"{where}: unknown key '{path}' (value {settings[path]!r}); allowed are paths that begin "
                f"with: {', '.join(allowed)}"
            )


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

    profile: str = Field(pattern=r"^[A-Za-z0-9][\w-]*$")  # the name of its file
    note: Prose  # what its numbers are good for
    corpus: CorpusConfig
    corpora: dict[Name, CorpusConfig] = Field(default_factory=dict)  # others, by the names that studies use
    encoder: EncoderConfig
    encoders: dict[str, EncoderConfig] = Field(default_factory=dict)  # others, by names for overrides
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

    _settings: Settings = PrivateAttr(default_factory=dict)  # of --set

    def of(self, paper: str) -> Profile:
        """This profile as the studies of a paper see it; --set goes before what the paper has of its own."""
        own = self.papers.get(paper, PaperOwn())
        found = self.model_copy(update={name: value for name, value in own if value is not None})
        return found.overridden(self._settings, "--set")

    def heard(self) -> list[str]:
        """Names of the corpora that its studies are about, each once."""
        own = [scale.corpus for scale in (self, *map(self.of, self.papers))]
        return list(dict.fromkeys(corpus.name for corpus in (*own, *self.corpora.values())))

    def backbones(self) -> list[tuple[str, str]]:
        """The models that its studies take, each with what it is: an encoder, an LLM, or an audio LLM."""
        papers = [self, *map(self.of, self.papers)]
        models = [
            *(("encoder", own.encoder.path) for own in papers),
            *(("encoder", encoder.path) for encoder in self.encoders.values()),
            *(("LLM", own.llm) for own in papers),
            *([("audio", self.audio_llm)] if self.audio_llm else []),
            *(("audio", model) for model in self.audio_llms.values()),
            *(("LLM", model) for model in self.llms.values()),
        ]
        return list(dict.fromkeys(models))

    def with_settings(self, settings: Settings) -> Profile:
        """This profile with settings of the command line, under the name that holds them."""
        name = with_settings(self.profile, settings)
        told = ", ".join(f"{key} = {value}" for key, value in sorted(settings.items()))
        found = self.overridden(settings, "--set")
        found = found.model_copy(update={"profile": name, "note": f"{self.note}; with {told}"})
        found._settings = dict(settings)
        return found

    def overridden(self, settings: Settings, where: str) -> Profile:
        """This profile with other settings by dotted path, checked as if its file said so.

        `encoder: NAME` stands for one of `encoders`, or for a path that keeps the profile's padding.
        `where`: what a UserError calls the place of the settings. MissingInput for a name of an encoder that
        this profile lacks.
        """
        if not settings:
            return self
        refuse_fixed(settings, where)
        if isinstance(name := settings.get("encoder"), str):
            settings = {**settings, "encoder": self._encoder(name, where)}
        content = replaced(self.model_dump(), settings, where) | {"profile": base_profile(self.profile)}
        return checked(Profile, content, where).model_copy(update={"profile": self.profile})

    def _encoder(self, name: str, where: str) -> dict:
        if name in self.encoders:
            return self.encoders[name].model_dump()
        if "/" not in name:
            known = ", ".join(self.encoders) or "none"
            raise MissingInput(
                f"{where}: profile '{self.profile}' names no encoder '{name}'; its encoders are: {known}; "
                "a path has a / in it"
            )
        return {"path": name}


def known_profiles() -> list[str]:
    """Names of the profiles, hidden ones left out."""
    return [name for name in catalogue.profile_files() if not name.startswith("_")]


def profile_file(name: str) -> Path:
    """The file of a profile; UserError names the profiles there are."""
    if name not in known_profiles():
        raise UserError(f"there is no profile '{name}'; the profiles are: {', '.join(known_profiles())}")
    return catalogue.profile_files()[name]


def load_profile(path: Path) -> Profile:
    """A profile with what it extends; UserError for a missing, unreadable or wrong file."""
    content, files = _extended(path)
    profile = checked(Profile, content, ", which extends ".join(file.name for file in files))
    if profile.profile != path.stem:
        raise UserError(f"{path.name} calls its profile '{profile.profile}'; file and profile bear one name")
    return profile


def _extended(path: Path, extending: tuple[Path, ...] = ()) -> tuple[object, list[Path]]:
    """The content of a profile's file over what it extends, and the files it is made of, its own first."""
    content = content_of(path)
    if not isinstance(content, dict) or "extend" not in content:
        return content, [path]
    name = content.pop("extend")
    bases = catalogue.profile_files()
    if name not in list(bases):  # it may be of any type
        known = ", ".join(known_profiles())
        raise UserError(f"{path.name} extends {name!r}, which is no profile; the profiles are: {known}")
    if bases[name] in (path, *extending):
        chain = " extends ".join(file.name for file in (*extending, path, bases[name]))
        raise UserError(f"{path.name} extends itself: {chain}")
    base, files = _extended(bases[name], (*extending, path))
    return (overlay(base, content) if isinstance(base, dict) else base), [path, *files]


def refuse_unknown_role(kind: str, role: str, named: str) -> None:
    """UserError for a role that every profile lacks: it is misspelt. One that some lack leaves runs out."""
    profiles = [load_profile(profile_file(name)) for name in known_profiles()]
    known = sorted({role for profile in profiles for role in getattr(profile, kind)})
    if role not in known:
        raise UserError(
            f"{named} names the role '{role}', which no profile has under {kind}; "
            f"there are: {', '.join(known)}"
        )
