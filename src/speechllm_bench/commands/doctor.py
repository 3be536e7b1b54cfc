"""The command `doctor`: what this machine has, and what each profile needs."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from speechllm_bench import backbones
from speechllm_bench.data import corpora, neural_voices
from speechllm_bench.errors import UserError
from speechllm_bench.fetch import folders
from speechllm_bench.fetch.pinned import pins
from speechllm_bench.fetch.sources import load_sources
from speechllm_bench.planning import studies
from speechllm_bench.running.runner import cores, free_disk
from speechllm_bench.settings.profiles import known_profiles
from speechllm_bench.storage import paths, runs


@dataclass(frozen=True)
class Need:
    """Requirements of a profile. The disk space is in addition to fetched models and corpora."""

    disk_gib: float  # the suite's own copy of the corpora, encoder frames, checkpoints and results
    memory_gib: float
    gpu: str


NEEDS = {
    "smoke": Need(1, 4, "none"),
    "mini": Need(4, 4, "none"),
    "small": Need(8, 8, "none"),
    # Disk: 220 h of speech, copied (13 GiB) and as frames of Whisper-base, -small and Qwen2-Audio's tower
    # (63); the trained weights of 370 stages (54). Memory: Qwen2-Audio in fp32, from which the tower is
    # taken.
    "paper": Need(130, 40, "one with 24 GiB, 80 GiB for the models of 7 and 8 B"),
}


def report() -> str:
    sections = [
        ("This machine", about_machine()),
        ("Fetched by `speechllm-bench fetch small`", fetched_lines()),
    ]
    for name in known_profiles():
        sections.append((f"Profile {name}", profile_lines(name)))
    return "\n\n".join("\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in sections)


def about_machine() -> list[str]:
    data = os.environ.get("SPEECHLLM_BENCH_DATA")
    return [
        f"python      {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"cores       {cores()}",
        f"memory      {_memory_gib():.0f} GiB",
        f"disk        {free_disk() / 2**30:.0f} GiB free where results are kept",
        f"torch       {_torch()}",
        f"espeak-ng   {_espeak()}",
        f"data        {f'SPEECHLLM_BENCH_DATA={data}' if data else 'SPEECHLLM_BENCH_DATA is not set'}",
    ]


def fetched_lines() -> list[str]:
    """Return lines on the pinned backbones and voices, and on the packages that the voices need.

    An entry is marked present if it is complete.
    """
    lines = []
    for name, pinned in pins().folders.items():
        fault = folders.fault(paths.fetched() / name, name)
        about = f"{pinned.role}; {pinned.licence}, {pinned.mebibytes:.0f} MiB"
        lacking = f": {fault}" if fault else ""
        lines.append(f"{_mark(not fault)} {name:22} {about}{lacking}")
    return lines + [_package_line(package) for package in neural_voices.PACKAGES]


def _package_line(package: str) -> str:
    version = runs.installed_version(package)
    said = version or "needed for voices: `pip install 'speechllm-bench[small]'`"
    return f"{_mark(version is not None)} {package:22} {said}"


def profile_lines(name: str) -> list[str]:
    """Return the needs of a profile, each marked present or missing."""
    try:
        profile = studies.profile_named(name)
    except UserError as error:
        return [f"cannot be read: {error}"]
    models, used, needs = profile.backbones(), profile.heard(), list[str]()
    if need := NEEDS.get(name):
        needs = [
            _disk_line(need.disk_gib, {model for _, model in models}, used),
            f"{_mark(_memory_gib() >= need.memory_gib)} memory   {need.memory_gib:g} GiB",
            f"{_mark(need.gpu == 'none' or _has_gpu())} GPU      {need.gpu}",
        ]
    return [
        *map(_corpus_line, used),
        *(_model_line(kind, model) for kind, model in models),
        *needs,
    ]


def _disk_line(own: float, models: Iterable[str], used: Iterable[str]) -> str:
    """Return the line on disk space. What is already fetched needs no more space."""
    told = load_sources()
    known = [(told.models[name].gib, model_lacks(name) is None) for name in models if name in told.models]
    known += [(told.corpora[name].gib, corpus_lacks(name) is None) for name in used if name in told.corpora]
    fetched, to_come = sum(gib for gib, _ in known), sum(gib for gib, there in known if not there)
    parts = f": {fetched:.0f} for models and corpora, {to_come:.0f} of it to be fetched" if fetched else ""
    return f"{_mark(free_disk() / 2**30 >= own + to_come)} disk     {own + fetched:.0f} GiB{parts}"


def model_lacks(name: str) -> str | None:
    """Return a sentence on what a model lacks on this machine. None where it is complete."""
    return _refusal(lambda: backbones.backbone_folder(name))


def corpus_lacks(corpus: str) -> str | None:
    """Return a sentence on what a corpus lacks on this machine. None where it is complete."""
    return _refusal(lambda: corpora.recipe(corpus))


def _refusal(act: Callable[[], object]) -> str | None:
    """Return the sentence of the UserError that a function raises. None without one."""
    try:
        act()
    except UserError as error:
        return str(error)
    return None


def _corpus_line(corpus: str) -> str:
    source = load_sources().corpora.get(corpus)
    terms = source.terms if source else "licence unknown to this suite"
    why = corpus_lacks(corpus)
    told = why or _other_than_published(corpus)
    lacking = f": {told}" if told else ""
    return f"{_mark(not why)} corpus   {corpus} ({terms}){lacking}"


def _other_than_published(corpus: str) -> str | None:
    """Return which parts of a corpus are not as large as published, or what is wrong with its files."""
    try:
        other = corpora.miscounted(corpus)
    except UserError as error:
        return str(error)
    return f"other than published, {'; '.join(other)}" if other else None


def _model_line(kind: str, name: str) -> str:
    """Return the line on a model. It is present if it is complete and matches the record in its folder."""
    wrong = model_lacks(name) or _refusal(lambda: backbones.refuse_changed(name))
    lacking = f": {wrong}" if wrong else ""
    return f"{_mark(not wrong)} {kind:8} {name} ({_model_terms(name)}){lacking}"


def _model_terms(name: str) -> str:
    if source := load_sources().models.get(name):
        return source.terms
    pinned = pins().folders.get(name.removeprefix("fetched/"))
    if pinned and name.startswith("fetched/"):
        return f"{pinned.licence}, {pinned.mebibytes:.0f} MiB"
    return "this project's, CC BY 4.0" if name.startswith("zoo/") else "licence unknown to this suite"


def _mark(there: bool) -> str:
    return "present" if there else "MISSING"


def _memory_gib() -> float:
    import psutil

    return psutil.virtual_memory().total / 2**30


def _torch() -> str:
    try:
        import torch
    except ImportError:
        return "MISSING; reports work without it, training does not"
    if not torch.cuda.is_available():
        return f"{torch.__version__}, CPU alone"
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    named = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus)
    return f"{torch.__version__}, {named}"


def _has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def _espeak() -> str:
    from speechllm_bench.data.espeak import espeak_version

    try:
        return espeak_version()
    except (ImportError, OSError, UserError) as error:
        return f"MISSING ({error}); `pip install espeakng-loader` installs it"
