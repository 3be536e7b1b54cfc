"""Profiles: the scales of the suite, `experiments/profiles/*.yaml`. A study is resolved at one of them.

A profile with `extend: mini` overrides settings of the profile mini. A file whose name begins with `_` is not
a profile; profiles may extend it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr, model_validator

from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings import catalogue
from speechllm_bench.settings.adapter_config import AdapterConfig
from speechllm_bench.settings.config import (
    AsrFallback,
    CorpusConfig,
    EncoderConfig,
    Fit,
    LoraConfig,
    Precision,
    PromptStyle,
    Seed,
)
from speechllm_bench.settings.evaluation_config import Engine
from speechllm_bench.settings.overrides import Settings, base_profile, replaced, with_settings
from speechllm_bench.settings.strict import Name, Prose, Strict, checked, content_of, overlay, refuse_repeated

Budget = Literal["alignment", "slots", "transcription", "understanding", "warm_start"]


class Training(Fit):
    """A profile's training settings, bound to its scale. A variant may scale the rates or set the warm-up."""

    # Examples per forward and backward pass, whose gradients are summed; None: the whole batch.
    micro_batch: int | None = Field(default=None, gt=0)
    lora_lr: float = Field(gt=0)  # peak rate of stages that train LoRA
    validation_examples: int = Field(gt=0)
    decoded_turns: int = Field(ge=0)
    frame_shift: int | None = Field(default=None, gt=1)  # for composite models (`StageConfig.frame_shift`)
    decoded_early: bool = True  # False: no decoding in stages that do not train the decoded task


class Decoding(Strict):
    batch_size: int = Field(gt=0)
    max_new_tokens: int = Field(gt=0)
    trace_tokens: int = Field(gt=0)  # replaces max_new_tokens where an answer may have a trace
    beams: int = Field(default=1, ge=1)  # 1: greedy
    engine: Engine | None = None  # vllm: the evaluation is decoded by vLLM; None: by the suite's own code


class Budgets(Strict):
    """Number of examples in a stage, equal for all variants of a study. 0: the profile has no such stage.

    `alignment` trains transcription before slots. An embedded LLM needs it where a paper has no such stage.
    `understanding` follows transcription in 2509.04473: entities, sentiment, or all tasks at once.
    """

    alignment: int = Field(ge=0)
    transcription: int = Field(ge=0)
    slots: int = Field(ge=0)
    understanding: int = Field(ge=0)


class WarmStart(Strict):
    """Settings of a CTC warm start, which trains the adapter without the LLM (training/ctc_stage.py)."""

    examples: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)
    dropout: float | None = Field(default=None, gt=0, lt=1)  # share of the values of frames; None: none
    everywhere: bool = False  # True: for every trained adapter; False: only where a study names it


FIXED = {
    *("profile", "note", "papers", "seeds", "headline", "variants"),
    *("examples_per_second", "time_limit_minutes"),
}
"""Keys that describe a profile or how it is run. Overrides cannot change them."""


def refuse_fixed(settings: Settings, where: str) -> None:
    """Raise UserError if a path does not begin with a setting that overrides may change."""
    allowed = [name for name in Profile.model_fields if name not in FIXED]
    for path in settings:
        if not isinstance(path, str) or path.split(".")[0] not in allowed:
            raise UserError(
                f"{where}: unknown key '{path}' (value {settings[path]!r}); allowed are paths that begin "
                f"with: {', '.join(allowed)}"
            )


class PaperOwn(Strict):
    """Settings for the studies of one paper, in place of the profile's. None: the profile's."""

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

    profile: str = Field(pattern=r"^[A-Za-z0-9][\w-]*$")  # the name of its file, without the suffix
    note: Prose  # what its numbers can be used for
    corpus: CorpusConfig
    corpora: dict[Name, CorpusConfig] = Field(default_factory=dict)  # further corpora, by names in studies
    encoder: EncoderConfig
    encoders: dict[str, EncoderConfig] = Field(default_factory=dict)  # further encoders, named in overrides
    llm: str
    llms: dict[Name, str] = Field(default_factory=dict)  # further LLMs, by their roles in studies
    papers: dict[str, PaperOwn] = Field(default_factory=dict)  # by arXiv number, the `paper` of a study
    audio_llm: str | None = None  # None: variants with an audio LLM are left out
    audio_llms: dict[Name, str] = Field(default_factory=dict)  # further audio LLMs, by their roles in studies
    adapters: dict[Name, AdapterConfig]  # by their names in studies
    lora: LoraConfig
    loras: dict[Name, LoraConfig] = Field(default_factory=dict)  # for roles in `llms` of another size
    lora_qkv: LoraConfig  # LoRA on query, key and value projections only (2509.04473)
    budgets: Budgets
    warm_start: WarmStart | None = None  # None: the profile has no such stage
    training: Training
    decoding: Decoding
    precision: Precision
    prompt: PromptStyle | None = None  # wording of the prompts; None: the terse one of the embedded LLMs
    # Padding with which a turn is recognised again if its transcript repeats itself. None: never again.
    asr_fallback: AsrFallback | None = None
    # Name of traces that `annotate traces` wrote; None: traces are written from gold. Set for 2510.19326
    # under `papers`. A turn with a stored trace is always asked the question of that trace.
    traces: str | None = None
    # Name of labels that `annotate labels` wrote, for variants whose annotation has no drawn noise.
    labels: str | None = None
    seeds: list[Seed] = Field(min_length=1)
    headline: list[Name]  # the studies that `make` without a target runs
    variants: Literal["all", "telling"]  # variants of a study that run where none are named
    examples_per_second: float = Field(gt=0)  # training speed, for estimates until a run is recorded
    time_limit_minutes: int = Field(gt=0)  # limit for the process of one run

    @model_validator(mode="after")
    def _roles(self) -> Profile:
        if unknown := sorted(set(self.loras) - set(self.llms)):
            raise ValueError(f"loras are of roles in llms, but name {unknown}, not among {list(self.llms)}")
        for names in (self.seeds, self.headline):
            refuse_repeated(names)
        return self

    _settings: Settings = PrivateAttr(default_factory=dict)  # settings of --set

    def of(self, paper: str) -> Profile:
        """Return this profile with the settings of a paper. --set overrides them."""
        own = self.papers.get(paper, PaperOwn())
        found = self.model_copy(update={name: value for name, value in own if value is not None})
        return found.overridden(self._settings, "--set")

    def heard(self) -> list[str]:
        """Return the names of the corpora that its studies use, each once."""
        own = [scale.corpus for scale in (self, *map(self.of, self.papers))]
        return list(dict.fromkeys(corpus.name for corpus in (*own, *self.corpora.values())))

    def backbones(self) -> list[tuple[str, str]]:
        """Return (kind, path) of the models that its studies use. Kinds are encoder, LLM and audio."""
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
        """Return this profile with settings of the command line, which its new name contains."""
        name = with_settings(self.profile, settings)
        told = ", ".join(f"{key} = {value}" for key, value in sorted(settings.items()))
        found = self.overridden(settings, "--set")
        found = found.model_copy(update={"profile": name, "note": f"{self.note}; with {told}"})
        found._settings = dict(settings)
        return found

    def overridden(self, settings: Settings, where: str) -> Profile:
        """Return this profile with other settings by dotted path, checked like those of its file.

        `encoder: NAME` is one of `encoders`, or a path, which keeps the profile's padding. `where`: the
        source of the settings, for error messages. Raises UserError for an invalid setting, and MissingInput
        for an encoder's name that this profile lacks.
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
    """Return the names of the profiles, without hidden ones."""
    return [name for name in catalogue.profile_files() if not name.startswith("_")]


def with_results(there: Callable[[str], bool]) -> list[str]:
    """Return the profiles for which `there` is true and, if there are others, without smoke."""
    found = list(filter(there, known_profiles()))
    return [name for name in found if base_profile(name) != "smoke"] or found


def profile_file(name: str) -> Path:
    """Return the file of a profile. Raises UserError, with the known profiles, for an unknown one."""
    if name not in known_profiles():
        raise UserError(f"there is no profile '{name}'; the profiles are: {', '.join(known_profiles())}")
    return catalogue.profile_files()[name]


def load_profile(path: Path) -> Profile:
    """Return a profile with what it extends. Raises UserError for a missing, unreadable or invalid file."""
    content, files = _extended(path)
    profile = checked(Profile, content, ", which extends ".join(file.name for file in files))
    if profile.profile != path.stem:
        raise UserError(f"{path.name} calls its profile '{profile.profile}'; both need the same name")
    return profile


def _extended(path: Path, extending: tuple[Path, ...] = ()) -> tuple[object, list[Path]]:
    """Return a profile's content with what it extends, and the files that were read, its own first."""
    content = content_of(path)
    if not isinstance(content, dict) or "extend" not in content:
        return content, [path]
    name = content.pop("extend")
    bases = catalogue.profile_files()
    if name not in list(bases):  # a list, since `name` may not be hashable
        known = ", ".join(known_profiles())
        raise UserError(f"{path.name} extends {name!r}, which is no profile; the profiles are: {known}")
    if bases[name] in (path, *extending):
        chain = " extends ".join(file.name for file in (*extending, path, bases[name]))
        raise UserError(f"{path.name} extends itself: {chain}")
    base, files = _extended(bases[name], (*extending, path))
    return (overlay(base, content) if isinstance(base, dict) else base), [path, *files]


def refuse_unknown_role(kind: str, role: str, named: str) -> None:
    """Raise UserError for a role that no profile has: it is misspelt.

    A role that only some profiles lack is allowed. Their runs with this role are left out.
    """
    files = catalogue.profile_files().values()
    known = _known_roles(kind, tuple((file, file.stat().st_mtime_ns) for file in files))
    if role not in known:
        raise UserError(
            f"{named} names the role '{role}', which no profile has under {kind}; "
            f"there are: {', '.join(known)}"
        )


@cache
def _known_roles(kind: str, written: tuple[tuple[Path, int], ...]) -> list[str]:
    """Return the roles of all profiles under `kind`. written: their files, with the time of each."""
    profiles = [load_profile(file) for file, _ in written if not file.stem.startswith("_")]
    return sorted({role for profile in profiles for role in getattr(profile, kind)})
