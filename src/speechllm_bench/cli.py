"""The command line, speechllm-bench. Its commands are in `_commands` and in `commands.handlers.COMMANDS`.

Exit codes: 1 for a failed run, an audit with findings or a number outside its recorded interval; 2 for a
user's mistake, a full disk, too little memory or another user's file; 3 for a missing backbone; 130 for
Ctrl-C. For 2 and 3 one sentence is printed instead of a traceback. Only `plan --probe`, `prepare`, `run`,
`verify`, `ask`, `export`, `doctor` and `zoo` import torch, after the arguments have been checked.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from speechllm_bench.commands import handlers as commands
from speechllm_bench.commands.arguments import ALL, parser, settle
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation.sample import TURNS
from speechllm_bench.planning import listing, probes, studies
from speechllm_bench.running import lifeline, runner, trouble
from speechllm_bench.settings import catalogue
from speechllm_bench.settings.config import RunConfig, from_stored
from speechllm_bench.storage import paths, runs

INTERRUPTED = 130
WRITES_NOTHING = ("doctor", "list", "plan", "export-slurm", "cite", "check", "why", "ask", "export")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not under nohup
        signal.signal(signal.SIGHUP, _terminate)
    lifeline.watch()
    lifeline.keep_interrupts()
    try:
        chosen = parser(_commands()).parse_args(sys.argv[1:] if arguments is None else arguments)
        settle(chosen)
        if chosen.name_of_command not in WRITES_NOTHING:
            from speechllm_bench.commands import housekeeping

            runs.make_home()
            housekeeping.tidy()
        return chosen.command(chosen) or 0
    except UserError as error:
        print(f"speechllm-bench: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of the output, for example `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        told = trouble.sentence(error)
        if told is None:
            raise
        print(f"speechllm-bench: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        told = str(stop) or "Stopped; what is finished stays, the next start goes on from there."
        print(f"\nspeechllm-bench: {told}", file=sys.stderr)
        return INTERRUPTED


def prepare(chosen: argparse.Namespace) -> None:
    """Make corpus and frames for a variant (default: baseline) of a study (default: first headline study)."""
    from speechllm_bench.running import jobs

    profile = studies.profile_named(chosen.profile)
    study = studies.load(chosen.study or profile.headline[0], chosen.profile)[0]
    _leave_out([study.study], chosen)
    run = studies.run(study.study, chosen.variant or study.baseline, profile.seeds[0], chosen.profile)
    jobs.prepare(run.config, chosen.profile, chosen.jobs or runner.cores())
    print(f"Corpus and encoder frames of profile {chosen.profile} are there.")


def run(chosen: argparse.Namespace) -> None:
    from speechllm_bench.running import single

    if chosen.config:  # written by a plan, which has resolved it and left out what cannot be read
        config = _config(chosen.config)
        run = studies.resolved(chosen.study, chosen.variant, chosen.seed, chosen.profile, config)
    else:
        _leave_out([chosen.study], chosen)
        run = studies.run(chosen.study, chosen.variant, chosen.seed, chosen.profile)
    _set_threads(chosen.threads or runner.cores())
    print(single.execute(run, chosen.unless_busy))


def _config(file: Path) -> RunConfig:
    """Return the settings of a run that a plan has resolved. Raises UserError for any other file."""
    remedy = "leave out --config, then `run` finds the settings itself"
    try:
        return from_stored(RunConfig, runs.read_json(file, remedy))
    except ValidationError:
        raise UserError(f"{file} does not hold the settings of a run; {remedy}") from None


def list_(chosen: argparse.Namespace) -> None:
    rows = listing.there_are(chosen.what, chosen.profile)
    print(listing.jsonl(rows) if chosen.format == "jsonl" else listing.there_are_text(rows))


def plan(chosen: argparse.Namespace) -> None:
    """Print what `study` would run. Nothing is started, except probes with `--probe`."""
    names = _studies(chosen.study, chosen.profile)
    plan = studies.plan(names, chosen.profile, chosen.variants, chosen.seeds)
    if chosen.probe:
        from speechllm_bench.running import probing

        probing.probe_missing(plan, lambda step: print(step, file=sys.stderr, flush=True))
    if chosen.format == "jsonl":
        print(listing.jsonl(listing.would_run(plan)))
    else:
        print(listing.would_run_text(plan, chosen.jobs or runner.at_once(chosen.profile)))
        if chosen.probe or probes.known(chosen.profile):
            print(probes.told(plan))


def run_studies(chosen: argparse.Namespace) -> int:
    names = _studies(chosen.study, chosen.profile)
    _leave_out(names, chosen)
    plan = studies.plan(names, chosen.profile, chosen.variants, chosen.seeds)
    if chosen.dry_run:
        print(listing.would_run_text(plan, chosen.jobs or runner.at_once(chosen.profile)))
        return 0
    outcome = runner.run_missing(plan, chosen.jobs, executor=chosen.runner)
    _report(names, chosen)
    return 1 if outcome.failures else 0


def export_slurm(chosen: argparse.Namespace) -> None:
    from speechllm_bench.running import slurm_script

    names = _studies(chosen.study, chosen.profile)
    plan = studies.plan(names, chosen.profile, chosen.variants, chosen.seeds)
    print(slurm_script.script(plan, chosen.threads or runner.cores()))


def report(chosen: argparse.Namespace) -> None:
    names = _studies(chosen.study, chosen.profile)
    _report(names, chosen)
    if not (chosen.columns or chosen.venue):
        return
    from speechllm_bench.reports import study  # slow import, not needed where nothing has changed

    for name in names if chosen.columns else ():
        for path in study.choose_columns(name, chosen.profile, chosen.columns, chosen.seeds):
            print(paths.shown(path))
    for name in names if chosen.venue else ():
        study.draw_for(name, chosen.profile, chosen.venue, chosen.seeds)


def verify(chosen: argparse.Namespace) -> int:
    from speechllm_bench.commands import verification, verification_of_number
    from speechllm_bench.storage import numbers

    _set_threads(threads := chosen.threads or runner.cores())
    if chosen.id:
        if chosen.turns:
            raise UserError("--turns is for --profile; a number is verified on its whole test set")
        again = verification_of_number.verify_number(numbers.find(chosen.id), chosen.jobs)
        print(again)
        return 0 if again.lands else 1
    turns = None if chosen.turns == ALL else chosen.turns or TURNS
    found = verification.verify(chosen.profile, turns, threads)
    print(verification.told(found))
    return 0 if all(one.lands for one in found) else 1


def audit_stored(chosen: argparse.Namespace) -> int:
    from speechllm_bench import audit

    report = audit.audit_results(chosen.folder, chosen.quick)
    print(report)
    return 1 if report.wrong else 0


def execute_notebooks(chosen: argparse.Namespace) -> int:
    """Execute notebooks. The error of one is printed, and the others are executed all the same."""
    from speechllm_bench import notebook

    options = ("profile", "study", "variant", "seed", "variants", "seeds", "jobs")
    parameters = {k: v for k in options if (v := getattr(chosen, k)) is not None}
    before, codes = _executed(chosen.profile), []
    names = _studies(chosen.name, chosen.profile)
    if "all" in chosen.name:  # a user's own study may have none
        names = [name for name in names if name in catalogue.notebook_files()]
    for name in names:
        try:
            print(paths.shown(notebook.execute(name, parameters, chosen.time_limit)))
        except UserError as error:
            print(f"speechllm-bench: {error}", file=sys.stderr)
            codes.append(error.exit_code)
    if _executed(chosen.profile) != before:  # the summary links to notebooks; it takes a while
        _report([], chosen)
    return min(codes, default=0)  # 2 before 3, because `make` continues after 3


def tell_machine(chosen: argparse.Namespace) -> None:
    from speechllm_bench.commands import doctor

    print(doctor.report())


def _leave_out(names: list[str], chosen: argparse.Namespace) -> None:
    from speechllm_bench.running import preparation

    loaded = [studies.load(name, chosen.profile) for name in names]
    used = [corpus for study, profile in loaded for corpus in preparation.heard(study, profile)]
    preparation.leave_out(used, chosen.skip_missing)


def _studies(names: list[str], profile: str) -> list[str]:
    if not names:
        return studies.profile_named(profile).headline
    return studies.known_studies() if "all" in names else list(dict.fromkeys(names))


def _commands() -> dict[str, Callable]:
    return {
        "list": list_,
        "plan": plan,
        "prepare": prepare,
        "run": run,
        "study": run_studies,
        "export-slurm": export_slurm,
        "report": report,
        "verify": verify,
        "audit": audit_stored,
        "notebook": execute_notebooks,
        "doctor": tell_machine,
        **commands.COMMANDS,
    }


def _report(names: list[str], chosen: argparse.Namespace) -> None:
    from speechllm_bench.commands import reporting
    from speechllm_bench.running.executors import machine

    for path in reporting.write(names, chosen.profile, chosen.seeds, machine.cores()):
        print(paths.shown(path))


def _executed(profile: str) -> dict[Path, int]:  # notebook -> time, in nanoseconds
    return {p: p.stat().st_mtime_ns for p in (paths.results(profile) / "notebooks").glob("*.ipynb")}


def _set_threads(threads: int) -> None:
    """Set the number of threads. Call this before torch is imported, which reads these variables."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


_PROCESS = os.getpid()


def _terminate(number, frame):
    """Treat SIGTERM and a lost terminal like Ctrl-C. A worker that inherited this handler ends at once."""
    if os.getpid() != _PROCESS:
        os._exit(128 + number)
    if number != signal.SIGTERM:  # a write to a lost terminal fails and would interrupt the clean-up
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in filter(os.isatty, (1, 2)):
            os.dup2(nowhere, descriptor)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
