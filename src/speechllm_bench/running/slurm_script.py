"""A shell script that submits a plan's runs to Slurm with `sbatch` only (command `export-slurm`)."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable

from speechllm_bench.planning.studies import Plan
from speechllm_bench.running import runner
from speechllm_bench.storage import paths

DATA = ("SPEECHLLM_BENCH_DATA", "HF_HOME", "HF_HUB_CACHE")  # variables with the places of corpora and models
HEAD = """#!/bin/bash
# Runs of profile {profile}: {n}. Start it on a machine that has sbatch: bash FILE.
# sbatch reads further settings of the cluster from SBATCH_PARTITION, SBATCH_ACCOUNT and the like.
# A job that is preempted or out of time is queued again and resumes from its checkpoint. A cancelled job is
# not queued again. Runs that share a stage wait for the run that trains it.
set -euo pipefail
{exports}
logs={logs}
mkdir -p "$logs"
submit() {{ # name, jobs that come before, command
  local name=$1 before=$2
  shift 2
  sbatch --parsable --job-name="$name" ${{before:+--dependency="$before"}} --kill-on-invalid-dep=yes \\
    --output="$logs/$name-%j.log" --open-mode=append --gpus=1 --cpus-per-task={threads} --time={minutes} \\
    --requeue --signal=B:USR1@120 --wrap="$(printf '%q ' "$@") & $job"
}}
job='run=$! again= code=127 stopped=1  # on either signal the run writes a checkpoint
trap "again=1 stopped=1; kill $run" USR1; trap "stopped=1; kill $run" TERM
while [ "$stopped" ]; do  # a signal ends a wait early, with a code of its own
  stopped=; wait $run; ended=$?; [ $ended = 127 ] || code=$ended
done
[ ! "$again" ] || scontrol requeue "$SLURM_JOB_ID"
exit $code'
"""


def script(plan: Plan, threads: int) -> str:
    """Return the bash script: preparation jobs first, then one job per run.

    Runs that train shared stages come before the runs that use them.
    """
    lines: list[str] = []
    prepared: dict = {}
    made: dict = {}
    missing = runner.owners_first(plan.missing)
    logs = paths.results(plan.profile.profile) / "logs" / "slurm"
    told = {"profile": plan.profile.profile, "n": len(missing), "exports": _exports()}
    told |= {"threads": threads, "minutes": plan.profile.time_limit_minutes}
    for run in missing:
        if run.config.needs_audio and (need := runner.needs(run.config)) not in prepared:
            prepared[need] = f"prepare_{len(prepared) + 1}"
            lines.append(_submitted(prepared[need], [], runner.prepare_command(run, threads)))
    for number, run in enumerate(missing, 1):
        owners = {made[one] for one in run.makes() if one in made}
        heard = prepared.get(runner.needs(run.config))
        before = [f"afterok:${heard}"] if heard else []
        before += [f"afterany:${owner}" for owner in sorted(owners, key=lambda name: int(name[4:]))]
        lines += [f"# {run.name}", _submitted(f"run_{number}", before, runner.run_command(run, threads))]
        made |= {one: f"run_{number}" for one in run.makes() if one not in made}
    return "\n".join([HEAD.format(logs=shlex.quote(str(logs)), **told), *lines])


def _exports() -> str:
    found = {"SPEECHLLM_BENCH_HOME": str(paths.home())}
    found |= {name: os.environ[name] for name in (paths.OWN_EXPERIMENTS, *DATA) if os.environ.get(name)}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in found.items())


def _submitted(name: str, before: Iterable[str], command: list[str]) -> str:
    return f'{name}=$(submit {name} "{",".join(before)}" {shlex.join(command)})'
