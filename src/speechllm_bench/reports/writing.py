"""Writes reports: studies' tables and figures, the summary, and the ledger of claims.

Stamps tell what is up to date, so an unchanged report needs no import of pandas or matplotlib.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.reports import stamps
from speechllm_bench.settings import catalogue
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.storage import numbers, paths

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def write(
    names: Sequence[str], profile: str, seeds: Sequence[int] | None = None, processes: int = 1
) -> Iterator[Path]:
    """Write the reports of studies, several at a time, and the profile's summary. Yield every file.

    The ledger is written with the reports of all studies, if it includes the profile.
    """
    stale = [name for name in names if not _current(name, profile, seeds)]
    made = _studies(stale, profile, seeds, min(processes, len(stale)))
    for name in names:
        yield from made[name] if name in made else _stamp(name, profile, seeds).written
    if set(names) >= set(catalogue.study_files()) and profile in in_ledger():
        yield from _ledger()
    yield _summary(profile)


def in_ledger() -> list[str]:
    """Return the profiles of the ledger: those with numbers and without settings of
    --set. Smoke only if alone.
    """
    named = [name for name in catalogue.profile_files() if not name.startswith("_")]
    found = [name for name in named if numbers.file(name).is_file()]
    return [name for name in found if base_profile(name) != "smoke"] or found


def _studies(
    names: Sequence[str], profile: str, seeds: Sequence[int] | None, processes: int
) -> dict[str, list[Path]]:
    """Write the reports of the studies, in several processes if there are several.

    Return the files by study.
    """
    if not names:
        return {}
    for variable in THREAD_VARIABLES:  # threads do not speed up the small matrices of intervals
        os.environ.setdefault(variable, "1")
    from speechllm_bench.reports import summary  # noqa: F401, slow import, done once before the fork

    one = partial(_study, profile=profile, seeds=seeds)
    if processes == 1:
        return {name: one(name) for name in names}
    try:
        with ProcessPoolExecutor(processes, initializer=_leave_interrupts) as pool:
            return dict(zip(names, pool.map(one, names), strict=True))
    except BrokenProcessPool:
        raise UserError(
            "a process that drew reports was killed, often for lack of memory; report one study at a time"
        ) from None


def _study(name: str, profile: str, seeds: Sequence[int] | None) -> list[Path]:
    from speechllm_bench.reports import study, summary

    written = study.write(name, profile, seeds)
    if not seeds:  # reuses the intervals that were just computed
        summary.of_study(name, profile)
    return written


def _leave_interrupts() -> None:
    """Ignore Ctrl-C in a worker. The parent handles it and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stamp(name: str, profile: str, seeds: Sequence[int] | None) -> stamps.Stamp:
    return stamps.Stamp(profile, f"tables/{name}", seeds or ())


def _current(name: str, profile: str, seeds: Sequence[int] | None) -> bool:
    return _stamp(name, profile, seeds).current and stamps.Stamp(profile, "numbers").current


def _summary(profile: str) -> Path:
    if stamps.Stamp(profile, "summary").current:
        return paths.results(profile) / "README.md"
    from speechllm_bench.reports import summary

    return summary.write(profile)


def _ledger() -> list[Path]:
    stamp = stamps.Stamp("", "claims")
    read = stamps.of(map(numbers.file, catalogue.profile_files()))
    if stamp.current and stamp.read == read:
        return stamp.written
    from speechllm_bench.reports import ledger

    written = ledger.write(in_ledger())
    stamp.keep(read, written)
    return written
