"""Processes: runs what is missing of a plan, several at a time, each run a process group of its own.

A run that fails, is killed or takes too long is recorded and the others go on. Nothing finished is ever
lost: a run folder appears whole or not at all, and a stopped run resumes from its checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import psutil

from speechllm_bench import lifeline, paths, runs, studies
from speechllm_bench.config import RunConfig
from speechllm_bench.errors import UserError
from speechllm_bench.estimate import clock, describe, run_seconds
from speechllm_bench.studies import Plan, Run

POLL_SECONDS = 0.2
GRACE_SECONDS = 20  # between asking a run to stop and killing it
LOG_SECONDS = 60  # between two lines of progress where nobody watches a bar
LEAST_DISK = 2**30  # bytes
MEMORY_OF_A_RUN = 2 * 2**30  # of the embedded backbones: 1.6 GiB by the records of `mini`, the largest 2.9
LOG_LINES = 20  # of a failed run's log that its record keeps
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

Command = Callable[[Run, int], list[str]]
"""From a run and its number of threads to the command line of its process."""


@dataclass(frozen=True)
class Outcome:
    finished: tuple[Run, ...]
    failures: tuple[dict, ...]  # the records written to failed/
    seconds: float


@dataclass
class _Active:
    run: Run
    process: subprocess.Popen
    log: Path
    started: float  # monotonic; waiting for another process does not count


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
) -> Outcome:
    """Run what is missing, `jobs` processes at a time (default: `at_once`).

    Prints the plan and shows one progress bar. Raises UserError where the corpus cannot be prepared or
    the disk is full, KeyboardInterrupt after it stopped the runs.
    """
    started = time.monotonic()
    jobs = jobs or at_once()
    print(describe(plan, jobs), flush=True)
    if not plan.missing:
        return Outcome((), (), 0.0)
    _check_disk()
    hearing = [run for run in plan.missing if run.config.needs_audio]
    if hearing:
        print("Preparing corpus and encoder frames.", flush=True)
    for run in {_needs(run.config): run for run in reversed(hearing)}.values():
        _prepare(prepare(run, cores()), run.profile)
    finished, failures = _run_all(plan, jobs, command)
    for failure in failures:
        print(f"{failure['run']}: {failure['status']}: {failure['message']} (log: {failure['log']})")
    seconds = time.monotonic() - started
    print(f"{len(finished)} of {len(plan.missing)} runs finished in {clock(seconds)}.", flush=True)
    return Outcome(tuple(finished), tuple(failures), seconds)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once() -> int:
    """How many runs go on together by default: one a core, as far as memory goes; one where there is a GPU,
    since all would train on the same.
    """
    if shutil.which("nvidia-smi"):
        return 1
    return max(1, min(cores(), psutil.virtual_memory().available // MEMORY_OF_A_RUN))


def free_disk() -> int:
    """Bytes free where results are kept, or will be: the folder itself may not be there yet."""
    home = paths.home()
    return shutil.disk_usage(next(p for p in (home, *home.parents) if os.path.exists(p))).free


def status_file(digest: str) -> Path:
    return paths.cache() / "status" / f"{digest}.json"


def write_status(digest: str, phase: str, share: float) -> None:
    """Say how far a run is; called by the run's own process, read by `run_missing`."""
    status = {**lifeline.own(), "phase": phase, "share": round(float(share), 4), "heartbeat": time.time()}
    runs.write_json(status_file(digest), status, lasting=False)


def read_status(digest: str, pid: int) -> dict:
    """How far the run's process `pid` is. It waits while another one, of a second runner, does the run."""
    try:
        status = runs.read_json(status_file(digest))
    except UserError:
        status = {"pid": 0}  # nobody has said anything yet
    if status["pid"] == pid:
        return status
    waits = status["pid"] and lifeline.alive(status)
    return {"phase": "waiting", "share": status["share"]} if waits else {"phase": "starting", "share": 0.0}


def next_run(pending: Iterable[Run], active: Iterable[Run]) -> Run | None:
    """The first pending run that would not wait for what an active one is making."""
    taken = set().union(*(run.makes() for run in active))
    return next((run for run in pending if not run.makes() & taken), None)


def _run_all(plan: Plan, jobs: int, command: Command) -> tuple[list[Run], list[dict]]:
    from tqdm.auto import tqdm  # the notebook's bar in a notebook

    pending, active = plan.missing, []
    finished: list[Run] = []
    failures: list[dict] = []
    threads = max(1, cores() // jobs)
    limit = plan.profile.time_limit_minutes * 60
    form = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]{postfix}"
    # A run that trains is worth many that share its stages, or the bar's own estimate would be far off.
    weights = run_seconds(plan)
    bar = tqdm(total=sum(weights.values()), desc=f"{len(pending)} runs", bar_format=form)
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    interval, shown = (POLL_SECONDS if watched else LOG_SECONDS), time.monotonic()
    try:
        while pending or active:
            while len(active) < jobs and (run := next_run(pending, [a.run for a in active])):
                _check_disk()
                pending.remove(run)
                active.append(_start(run, command(run, threads), threads))
            time.sleep(POLL_SECONDS)
            for job in list(active):
                if (status := _ended(job, limit)) is None:
                    continue
                active.remove(job)
                _settle(job, status, finished, failures)
            said = [read_status(job.run.digest, job.process.pid) for job in active]
            phases = list(zip(active, said, strict=True))
            bar.n = sum(weights.values()) - sum(weights[run.digest] for run in pending)
            bar.n -= sum(weights[job.run.digest] * (1 - status["share"]) for job, status in phases)
            told = ", ".join(f"{job.run.variant} {status['phase']}" for job, status in phases)
            bar.set_postfix_str(told, refresh=False)
            if time.monotonic() - shown >= interval:
                bar.refresh()
                shown = time.monotonic()
    except BaseException as error:
        _stop(active)
        if isinstance(error, KeyboardInterrupt):
            left = len(plan.missing) - len(finished)
            message = f"Stopped; runs finished, which stay: {len(finished)}; left for the next start: {left}."
            raise KeyboardInterrupt(message) from None
        raise
    finally:
        bar.close()
    return finished, failures


def _start(run: Run, command: list[str], threads: int) -> _Active:
    log = paths.results(run.profile) / "logs" / f"{run.digest}.log"
    with _emptied(log) as file:
        return _Active(run, _spawn(command, file, threads), log, time.monotonic())


def _spawn(command: list[str], output: TextIO | None, threads: int) -> subprocess.Popen:
    settings = {name: str(threads) for name in THREAD_VARIABLES} | {"TOKENIZERS_PARALLELISM": "false"}
    return lifeline.start(
        command,
        os.environ | settings,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
    )


def _ended(job: _Active, limit: float) -> str | None:
    """How a job ended: ok, failed, killed or timeout; None while it goes on."""
    code = job.process.poll()
    if code is not None:
        done = code == 0 and studies.run_done(job.run.profile, job.run.digest)
        return "ok" if done else "killed" if code < 0 else "failed"
    if read_status(job.run.digest, job.process.pid)["phase"] == "waiting":
        job.started = time.monotonic()
    if time.monotonic() - job.started < limit:
        return None
    _stop([job])
    return "timeout"


def _settle(job: _Active, status: str, finished: list[Run], failures: list[dict]) -> None:
    status_file(job.run.digest).unlink(missing_ok=True)
    if status == "ok":
        studies.failure_file(job.run.profile, job.run.digest).unlink(missing_ok=True)
        finished.append(job.run)
    else:
        failures.append(_record_failure(job, status, _message(job, status)))


def _message(job: _Active, status: str) -> str:
    code = job.process.returncode
    if status == "timeout":
        return "took longer than the profile's time_limit_minutes and was stopped; the next start resumes it"
    if status == "killed":
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (", often a lack of memory" if name == "SIGKILL" else "")
    return _last_line(
        job.log, "its process left no record" if code == 0 else f"it ended with exit code {code}"
    )


def _record_failure(job: _Active, status: str, message: str) -> dict:
    tail = _lines(job.log)[-LOG_LINES:]
    log = str(job.log.relative_to(paths.home()))
    record = {"run": job.run.name, "status": status, "message": message, "log": log, "log_tail": tail}
    runs.write_json(studies.failure_file(job.run.profile, job.run.digest), record)
    return record


def _stop(active: list[_Active]) -> None:
    """Ask every group to end, wait, then kill what is left of them."""
    for job in active:
        _signal_group(job.process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for job in active:
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.process.wait(max(0.0, deadline - time.monotonic()))
        _signal_group(job.process, signal.SIGKILL)
        job.process.wait()


def _signal_group(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _needs(config: RunConfig) -> str:
    """What tells runs apart that need another corpus, or other encoder frames of it."""
    hears = (config.audio_llm or config.encoder.model_dump()) if config.hears else None
    return runs.digest(config.corpus.model_dump(), hears)


def _prepare(command: list[str], profile: str) -> None:
    """A corpus and its encoder frames, before the runs and by all cores."""
    seen = sys.stderr.isatty()  # a terminal shows the bars, a notebook's kernel has none
    log = paths.results(profile) / "logs" / "prepare.log"
    with contextlib.nullcontext() if seen else _emptied(log) as file:
        process = _spawn(command, file, cores())
        try:
            code = process.wait()
        except BaseException:
            _stop([_Active(None, process, log, 0.0)])
            raise
    if code:
        _check_disk()  # a full one holds no log that could say so
        why = "the message is above" if seen else _last_line(log, f"exit code {code}")
        raise UserError(f"corpus and encoder frames could not be prepared: {why}")


def _emptied(log: Path) -> TextIO:
    """An empty log that is appended to, so that two runners' processes do not write over each other."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    return open(log, "a", encoding="utf-8")


def _lines(log: Path) -> list[str]:
    return [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def _last_line(log: Path, otherwise: str) -> str:
    lines = _lines(log)
    return lines[-1].removeprefix("speechllm-bench: ") if lines else otherwise


def _check_disk() -> None:
    free = free_disk()
    if free < LEAST_DISK:
        raise UserError(
            f"only {free / 2**20:.0f} MiB are free where results are kept ({paths.home()}), and a run needs "
            f"{LEAST_DISK / 2**20:.0f} MiB to be safe; make room and start again, finished runs stay"
        )
