"""Paths of stored results: runs, trained stages, failures and ASR transcripts."""

from __future__ import annotations

from pathlib import Path

from speechllm_bench.planning import identity
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import paths


def run_folder(profile: str, digest: str) -> Path:
    return paths.results(profile) / "runs" / digest


def stage_folder(profile: str, digest: str) -> Path:
    return paths.results(profile) / "stages" / digest


def checkpoint_folder(profile: str, digest: str) -> Path:
    """Return the folder of a stage's interrupted training. Each profile has one, also of a shared stage."""
    return paths.cache() / "checkpoints" / f"{profile}.{digest}"


def transcripts_file(config: RunConfig, split: str) -> Path:
    """Return the path of the ASR transcripts of a split by the encoder's own decoder."""
    again = f"-{config.asr_fallback}" if config.asr_fallback else ""
    return paths.cache() / "transcripts" / identity.frames_digest(config) / f"{split}{again}.json"


def failure_file(profile: str, digest: str) -> Path:
    return paths.results(profile) / "failed" / f"{digest}.json"


def run_done(profile: str, digest: str) -> bool:
    return (run_folder(profile, digest) / "run.json").is_file()


def stage_done(profile: str, digest: str) -> bool:
    return (stage_folder(profile, digest) / "stage.json").is_file()
