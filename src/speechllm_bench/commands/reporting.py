"""Writes reports that are out of date: studies' tables and figures, the summary, and the ledger of claims.

Neither pandas nor matplotlib is imported where nothing has changed.
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
from speechllm_bench.settings.profiles import with_results
from speechllm_bench.storage import numbers, paths

MATRIX_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def write(
    names: Sequence[str], profile: str, seeds: Sequence[int] | None = None, processes: int = 1
) -> Iterator[Path]:
    """Write the reports of studies, several at a time, and the profile's summary. Yield every file.

    The ledger is written with the reports of all studies, if it includes the profile.
    """
    kept = {name: stamps.Stamp(profile, f"tables/{name}", seeds or ()) for name in names}
    numbered = stamps.Stamp(profile, "numbers").current
    stale = [name for name, stamp in kept.items() if not (stamp.current and numbered)]
    made = _studies(stale, profile, seeds, min(processes, len(stale)))
    for name in names:
        yield from made[name] if name in made else kept[name].written
    if set(names) >= set(catalogue.study_files()) and profile in in_ledger():
        yield from _ledger()
    yield _summary(profile)


def in_ledger() -> list[str]:
    """Return the profiles of the ledger: those with numbers and without --set. Smoke only if alone."""
    return with_results(lambda name: numbers.file(name).is_file())


def _studies(
    names: Sequence[str], profile: str, seeds: Sequence[int] | None, processes: int
) -> dict[str, list[Path]]:
    """Write the reports of the studies, in several processes if asked. Return the files by study."""
    if not names:
        return {}
    for variable in MATRIX_THREADS:  # threads do not speed up the small matrices of intervals
        os.environ.setdefault(variable, "1")
    from speechllm_bench.reports import study, summary  # noqa: F401, slow import, done once before the fork

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

    found = stamps.stored_records(name, profile, seeds)
    written = study.write(name, profile, seeds, found=found)
    if not seeds:  # reuses the records that were just read, and the intervals just computed
        summary.of_study(name, profile, found)
    return written


def _leave_interrupts() -> None:
    """Ignore Ctrl-C in a worker. The parent handles it and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
    from speechllm_bench.cite import ledger

    written = ledger.write(in_ledger())
    stamp.keep(read, written)
    return written
