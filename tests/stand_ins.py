"""Stand-in processes for runs: each writes its status, then does what the test asks of it."""

from __future__ import annotations

import json
import sys

from speechllm_bench.planning import studies
from speechllm_bench.running import heartbeat, runner
from speechllm_bench.storage import paths, sealed

PREAMBLE = """
import json, os, signal, sys, time
from pathlib import Path
variant, folder, stages = "{variant}", Path("{folder}"), {stages}
def write(file, record):
    file.parent.mkdir(parents=True, exist_ok=True)
    own = file.with_suffix(f".{{os.getpid()}}")  # two runners may write about one run at the same time
    own.write_text(json.dumps(record))
    own.replace(file)
def log(what):
    with open("{events}", "a") as file:
        file.write(json.dumps([what, variant, time.time(), os.getpid()]) + "\\n")
def wait(what):
    while what not in Path("{events}").read_text():
        time.sleep(0.05)
def finish():
    for stage in stages:
        write(folder.parents[1] / "stages" / stage / "stage.json", {stage_record})
    write(folder / "run.json", {run_record})
write(Path("{status}"), {{"pid": os.getpid(), "phase": "train", "share": 0.5}})
log("start")
"""
STAGE = {"examples": 48, "seconds": 24.0, "validation_seconds": 0.0}
RUN = {"status": "ok", "seconds": {"total": 60.0, "train": 48.0, "validate": 0.0}}
WELL = "log('end'); finish()"


def stand_in(**bodies):
    """A command builder: variants named run their own body, the others end well."""

    def command(run, threads):
        names = {"variant": run.variant, "folder": run.folder, "events": paths.home() / "events"}
        names |= {"stage_record": sealed.with_seal(STAGE, {}), "run_record": sealed.with_seal(RUN, {})}
        status = heartbeat.status_file(run.profile, run.digest)
        preamble = PREAMBLE.format(stages=list(run.stages), status=status, **names)
        return [sys.executable, "-c", preamble + bodies.get(run.variant, WELL)]

    return command


def prepare(run, jobs):
    return [sys.executable, "-c", "print('prepared')"]


def run(variants, jobs=2, profile="smoke", **bodies):
    plan = studies.plan(["adapter_size"], profile, variants)
    return runner.run_missing(plan, jobs, stand_in(**bodies), prepare)


def events(suite):
    if not (suite / "events").is_file():
        return []
    return [json.loads(line) for line in (suite / "events").read_text().splitlines()]
