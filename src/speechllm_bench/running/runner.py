"""The runner executes the missing runs of a plan, several at a time, on this machine, Ray or Slurm.

A run that fails, is killed or takes too long is recorded, and the others continue. No finished work is lost:
a run folder is written atomically, and a stopped run resumes from its checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechllm_bench.errors import BUSY, UserError
from speechllm_bench.planning import places
from speechllm_bench.planning.estimate import clock, describe, gpu_gib, run_memory, run_seconds
from speechllm_bench.planning.studies import Plan, Run
from speechllm_bench.running import executors, heartbeat
from speechllm_bench.running.executors import Executor, Job, Task, local, machine
from speechllm_bench.running.executors.machine import cores
from speechllm_bench.running.logs import Log, empty_log
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.status import Status

POLL_SECONDS = 0.2
GRACE_SECONDS = 20  # between asking a run to stop and killing it
LOG_SECONDS = 60  # between two progress lines where the output is not a terminal or notebook
BUSY_SECONDS = 10  # wait before a retry of a run that another runner executes or trains a stage of
LEAST_DISK = 2**30  # bytes that must be free
LOG_LINES = 20  # last lines of a failed run's log that its record keeps

Command = Callable[[Run, int], list[str]]
"""A function from a run and its number of threads to the command line of its process."""


@dataclass(frozen=True)
class Outcome:
    finished: tuple[Run, ...]
    failures: tuple[dict, ...]  # the records written to failed/
    seconds: float


@dataclass
class _Active:
    run: Run
    job: Job
    log: Log
    config: Path  # of the run, for the job's process
    started: float  # monotonic seconds; reset while the job waits for another process or in a queue

    def close(self) -> None:
        self.config.unlink(missing_ok=True)
        self.log.close()


def run_command(run: Run, threads: int) -> list[str]:
    chosen = ["--seed", str(run.seed), "--profile", run.profile, "--threads", str(threads)]
    return [sys.executable, "-m", "speechllm_bench.cli", "run", run.study, run.variant, *chosen]


def prepare_command(run: Run, jobs: int) -> list[str]:
    chosen = ["--profile", run.profile, "--jobs", str(jobs)]
    return [sys.executable, "-m", "speechllm_bench.cli", "prepare", run.study, run.variant, *chosen]


def run_missing(
    plan: Plan,
    jobs: int | None = None,
    command: Command = run_command,
    prepare: Command = prepare_command,
    executor: str = "local",
) -> Outcome:
    """Execute the missing runs on one of `executors.EXECUTORS`, `jobs` at a time.

    jobs: None is as many as the executor has room for. Prints the plan and shows one progress bar. Raises
    UserError where the corpus cannot be prepared or the disk is full. Raises KeyboardInterrupt after Ctrl-C
    has stopped the runs.
    """
    started = time.monotonic()
    if not plan.missing:
        print(describe(plan, jobs or 1), flush=True)
        return Outcome((), (), 0.0)
    _check_disk()
    here = at_once(plan.profile.profile) if executor == "local" else None
    place = executors.executor(executor, jobs or here)
    try:
        print(describe(plan, place.at_once), flush=True)
        hearing = [run for run in plan.missing if run.config.needs_audio]
        if hearing:
            print("Preparing corpus and encoder frames.", flush=True)
        for run in {needs(run.config): run for run in reversed(hearing)}.values():
            _prepare(place, prepare(run, cores()), run, plan.profile.time_limit_minutes)
        finished, failures = _run_all(plan, place, command)
    finally:
        place.close()
    for failure in failures:
        print(f"{failure['run']}: {failure['status']}: {failure['message']} (log: {failure['log']})")
    seconds = time.monotonic() - started
    print(f"{len(finished)} of {len(plan.missing)} runs finished in {clock(seconds)}.", flush=True)
    return Outcome(tuple(finished), tuple(failures), seconds)


def at_once(profile: str) -> int:
    return machine.at_once(machine.gpus(), run_memory(profile))


def free_disk() -> int:
    """Return the free bytes on the disk of the results folder, which may not exist yet."""
    home = paths.home()
    return shutil.disk_usage(next(p for p in (home, *home.parents) if os.path.exists(p))).free


def next_run(pending: Iterable[Run], active: Iterable[Run]) -> Run | None:
    """Return the first pending run that needs nothing that an active run is making; None if there is none."""
    taken = set().union(*(run.makes() for run in active))
    return next((run for run in pending if not run.makes() & taken), None)


def owners_first(missing: Sequence[Run]) -> list[Run]:
    """Sort runs by how much other runs share of what they make, most first; ties keep the plan's order."""
    wanted = Counter(made for run in missing for made in run.makes())
    return sorted(missing, key=lambda run: -sum(wanted[made] - 1 for made in run.makes()))


def _run_all(plan: Plan, place: Executor, command: Command) -> tuple[list[Run], list[dict]]:
    from tqdm.auto import tqdm  # shows a widget in a notebook

    pending = owners_first(plan.missing)
    active: list[_Active] = []
    finished: list[Run] = []
    failures: list[dict] = []
    threads = max(1, cores() // place.at_once)
    again: dict[str, float] = {}  # digest -> time when a busy run is retried
    memory = {run.digest: gpu_gib(run.config) if place.with_gpus else 0.0 for run in pending}
    # Only a local job that waits would block others. The other executors have queues.
    leave: list[str] = ["--unless-busy"] if isinstance(place, local.Local) else []
    limit = plan.profile.time_limit_minutes * 60
    form = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]{postfix}"
    # Weighted by expected time: a run that trains takes much longer than runs that share its stages.
    weights = run_seconds(plan)
    bar = tqdm(total=sum(weights.values()), desc=f"{len(pending)} runs", bar_format=form)
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    interval, shown = (POLL_SECONDS if watched else LOG_SECONDS), time.monotonic()
    try:
        while pending or active:
            while len(active) < place.at_once:
                tried = [r for r in pending if again.get(r.digest, 0) <= time.monotonic()]
                tried = [r for r in tried if place.room(memory[r.digest])]
                if (run := next_run(tried, [a.run for a in active])) is None:
                    break
                _check_disk()
                pending.remove(run)
                needed = (threads, memory[run.digest], plan.profile.time_limit_minutes)
                active.append(_start(place, run, [*command(run, threads), *leave], *needed))
            time.sleep(POLL_SECONDS)
            for job in list(active):
                if (status := _ended(job, limit)) is None:
                    continue
                active.remove(job)
                if status == Status.BUSY:
                    pending.append(job.run)
                    again[job.run.digest] = time.monotonic() + BUSY_SECONDS
                else:
                    _settle(job, status, finished, failures)
                job.close()
            said = [heartbeat.read_status(job.run.profile, job.run.digest, job.job.pid) for job in active]
            phases = list(zip(active, said, strict=True))
            bar.n = sum(weights.values()) - sum(weights[run.digest] for run in pending)
            bar.n -= sum(weights[job.run.digest] * (1 - status["share"]) for job, status in phases)
            bar.n = max(0.0, round(bar.n, 3))  # rounding errors would disturb tqdm's estimate
            told = ", ".join(f"{job.run.variant} {status['phase']}" for job, status in phases)
            bar.set_postfix_str(told, refresh=False)
            if time.monotonic() - shown >= interval:
                bar.refresh()
                shown = time.monotonic()
    except BaseException as error:
        _stop([one.job for one in active])
        if isinstance(error, KeyboardInterrupt):
            left = len(plan.missing) - len(finished)
            message = f"Stopped. Finished runs, kept: {len(finished)}; left for the next start: {left}."
            raise KeyboardInterrupt(message) from None
        raise
    finally:
        for job in active:
            job.close()
        bar.close()
    return finished, failures


def _start(place: Executor, run: Run, command: list[str], threads: int, gib: float, minutes: int) -> _Active:
    log = empty_log(paths.results(run.profile) / "logs", run.digest)
    # The process reads its config and need not resolve it. Like the log, the file is this runner's alone:
    # settings that leave the digest as it is make another profile.
    config = paths.cache() / "planned" / f"{run.profile}.{log.file.stem}.json"
    runs.write_json(config, run.config.as_stored(), lasting=False)
    job = place.start(Task(run.name, [*command, "--config", str(config)], log.file, threads, gib, minutes))
    return _Active(run, job, log, config, time.monotonic())


def _ended(job: _Active, limit: float) -> Status | None:
    """Return how a job ended (ok, busy, failed, killed or timeout), or None while it runs.

    limit: seconds after which a job is stopped.
    """
    code = job.job.code()
    if code is not None:
        if places.run_done(job.run.profile, job.run.digest):
            return Status.OK  # whatever the code, since another runner's job may have made it meanwhile
        if code == BUSY:
            return Status.BUSY
        return Status.KILLED if code < 0 else Status.FAILED
    if heartbeat.read_status(job.run.profile, job.run.digest, job.job.pid)["phase"] in ("waiting", "queued"):
        job.started = time.monotonic()
    if time.monotonic() - job.started < limit:
        return None
    _stop([job.job])
    return Status.TIMEOUT


def _settle(job: _Active, status: Status, finished: list[Run], failures: list[dict]) -> None:
    heartbeat.status_file(job.run.profile, job.run.digest).unlink(missing_ok=True)
    if status == Status.OK:
        places.failure_file(job.run.profile, job.run.digest).unlink(missing_ok=True)
        finished.append(job.run)
    else:
        failures.append(_record_failure(job, status, _message(job, status)))


def _message(job: _Active, status: Status) -> str:
    code = job.job.code()
    if status == Status.TIMEOUT:
        return "took longer than the profile's time_limit_minutes and was stopped; the next start resumes it"
    if status == Status.KILLED:
        name = signal.Signals(-(code or 0)).name
        return f"its process was ended by {name}" + (", often a lack of memory" if name == "SIGKILL" else "")
    return job.log.last_line("its process left no record" if code == 0 else f"it ended with exit code {code}")


def _record_failure(job: _Active, status: str, message: str) -> dict:
    tail = job.log.lines()[-LOG_LINES:]
    log = str(job.log.file.relative_to(paths.home()))
    record = {"run": job.run.name, "status": status, "message": message, "log": log, "log_tail": tail}
    runs.write_json(places.failure_file(job.run.profile, job.run.digest), record)
    return record


def _stop(jobs: Sequence[Job]) -> None:
    """Ask every job to stop, wait up to `GRACE_SECONDS`, then kill what is left."""
    for job in jobs:
        job.ask_to_stop()
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and any(job.code() is None for job in jobs):
        time.sleep(0.05)
    for job in jobs:
        job.kill()


def needs(config: RunConfig) -> str:
    """Return a key that is equal for runs with the same corpus and, but for precision, the same frames."""
    hears = (config.audio_llm or config.encoder.model_dump()) if config.hears else None
    return runs.digest(config.corpus.model_dump(), hears)


def _prepare(place: Executor, command: list[str], run: Run, minutes: int) -> None:
    """Make a corpus and its encoder frames before the runs, in a job of its own on all cores."""
    # The progress bars need a terminal. A notebook's kernel and another machine have none.
    seen = sys.stderr.isatty() and isinstance(place, local.Local)
    gib = gpu_gib(run.config) if place.with_gpus else 0.0
    with contextlib.closing(empty_log(paths.results(run.profile) / "logs", "prepare")) as log:
        told = None if seen else log.file
        job = place.start(Task(f"prepare {run.study}", command, told, cores(), gib, minutes))
        try:
            while (code := job.code()) is None:
                time.sleep(POLL_SECONDS)
        except BaseException:
            _stop([job])
            raise
        if code:
            _check_disk()  # a full disk may hold no log that says so
            why = "the message is above" if seen else log.last_line(f"exit code {code}")
            raise UserError(f"corpus and encoder frames could not be prepared: {why}")


def _check_disk() -> None:
    free = free_disk()
    if free < LEAST_DISK:
        raise UserError(
            f"only {free / 2**20:.0f} MiB are free where results are kept ({paths.home()}), and a run needs "
            f"{LEAST_DISK / 2**20:.0f} MiB to be safe; make room and start again, finished runs stay"
        )
