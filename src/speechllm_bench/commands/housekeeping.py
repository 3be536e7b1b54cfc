"""Cleaning at each start: leftovers of killed processes, and records that wrongly say they are running."""

from __future__ import annotations

import contextlib
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.planning import places
from speechllm_bench.storage import leftovers, locks, paths, runs
from speechllm_bench.storage.status import Status


def tidy() -> None:
    """Remove leftovers and outdated statuses. Files of running processes and of other users are kept."""
    with contextlib.suppress(OSError):
        leftovers.sweep()
        _finished_checkpoints()
        _stale_statuses()
        _dead_notebooks()


def _finished_checkpoints() -> None:
    """Remove checkpoints of finished stages.

    A process that is killed just after storing a stage leaves one.
    """
    for checkpoint in _entries(paths.cache() / "checkpoints"):
        profile, _, digest = checkpoint.name.rpartition(".")
        if places.stage_done(profile, digest):
            runs.remove(checkpoint)


def _stale_statuses() -> None:
    """Remove statuses of runs whose lock nobody holds, on this host or another."""
    for file in _entries(paths.cache() / "status"):
        digest = file.stem.rpartition(".")[2]
        with contextlib.suppress(UserError, OSError):
            if not any(map(locks.is_held, (paths.cache() / "locks").glob(f"{digest}-*.lock"))):
                file.unlink(missing_ok=True)


def _dead_notebooks() -> None:
    """Mark notebooks as killed that have the status running but whose lock nobody holds."""
    for file in sorted((paths.home() / "results").glob("*/notebooks/*.json")):
        with contextlib.suppress(UserError, AttributeError, OSError):
            if runs.read_json(file).get("status") != Status.RUNNING:
                continue
            if lock := locks.acquired(runs.lock_file(file.with_suffix(".ipynb"))):
                from speechllm_bench import notebook  # imported here: slow, and most starts do not need it

                try:
                    notebook.record_killed(file)
                finally:
                    lock.release()


def _entries(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")] if folder.is_dir() else []
