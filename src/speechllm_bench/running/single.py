"""Executes one run in this process.

A lock keeps other processes from doing the same run, and a heartbeat file shows its progress.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from speechllm_bench.errors import Busy
from speechllm_bench.planning import places
from speechllm_bench.planning.studies import Run
from speechllm_bench.running import heartbeat
from speechllm_bench.storage import paths, runs


def execute(run: Run, unless_busy: bool = False) -> str:
    """Execute a run unless it is done, and return a sentence with its folder.

    If another process executes the run, this one says so and waits. unless_busy: raise Busy instead of
    waiting, also where another process trains a stage of the run.
    """

    def busy() -> None:
        told = f"{runs.holder(run.folder)} executes {run.name}"
        if unless_busy:
            raise Busy(told)
        print(f"{told}; this one waits.", file=sys.stderr, flush=True)

    with runs.lock(run.folder, busy):
        if places.run_done(run.profile, run.digest):
            return f"{run.name} is there already: {paths.shown(run.folder)}"
        if unless_busy and (trained := next(filter(runs.locked, run.trained_into()), None)):
            raise Busy(f"{runs.holder(trained)} trains a stage of {run.name}")
        from speechllm_bench.running import jobs

        with _progress(run) as tell:
            folder = jobs.execute(run.config, run.profile, tell)
    places.failure_file(run.profile, run.digest).unlink(missing_ok=True)
    return f"{run.name}: {paths.shown(folder)}"


@contextlib.contextmanager
def _progress(run: Run) -> Iterator[Callable[[str, float], None]]:
    """Yield a function that writes a run's progress to its status file, and to a bar at a terminal."""
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]{postfix}"
    with tqdm(total=1.0, desc=run.name, bar_format=form, disable=not sys.stderr.isatty()) as bar:

        def tell(phase: str, share: float) -> None:
            heartbeat.write_status(run.profile, run.digest, phase, share)
            bar.set_postfix_str(phase, refresh=False)
            bar.update(share - bar.n)

        tell("starting", 0.0)
        try:
            yield tell
        finally:
            heartbeat.status_file(run.profile, run.digest).unlink(missing_ok=True)
