"""What is put in order at each start: leftovers of killed processes, and records that say they still run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.running import lifeline
from speechllm_bench.storage import leftovers, locks, paths, runs
from speechllm_bench.storage.status import Status


def tidy() -> None:
    """Nothing that belongs to a living process is touched; what belongs to another user stays."""
    with contextlib.suppress(OSError):
        leftovers.sweep()
        _finished_checkpoints()
        _stale_statuses()
        _dead_notebooks()


def _finished_checkpoints() -> None:
    """Checkpoints of stages that are trained: their trainer was killed between storing them and removing
    these.
    """
    for checkpoint in _entries(paths.cache() / "checkpoints"):
        if any((paths.home() / "results").glob(f"*/stages/{checkpoint.name}/stage.json")):
            runs.remove(checkpoint)


def _stale_statuses() -> None:
    for file in _entries(paths.cache() / "status"):
        with contextlib.suppress(UserError, KeyError, OSError):
            if not lifeline.alive(runs.read_json(file)):
                file.unlink(missing_ok=True)


def _dead_notebooks() -> None:
    """Whoever executes a notebook holds its lock."""
    for file in sorted((paths.home() / "results").glob("*/notebooks/*.json")):
        with contextlib.suppress(UserError, AttributeError, OSError):
            if runs.read_json(file).get("status") != Status.RUNNING:
                continue
            if lock := locks.acquired(runs.lock_file(file.with_suffix(".ipynb"))):
                from speechllm_bench import notebook  # here: a slow import that most starts do without

                try:
                    notebook.record_killed(file)
                finally:
                    lock.release()


def _entries(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")] if folder.is_dir() else []
