"""The heartbeat of a run: its process writes its progress to a file, and the runner reads the file.

Each run has one small file in the cache. It is deleted when the run ends.
"""

from __future__ import annotations

import time
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.storage import paths, process, runs


def status_file(profile: str, digest: str) -> Path:
    return paths.cache() / "status" / f"{profile}.{digest}.json"


def write_status(profile: str, digest: str, phase: str, share: float) -> None:
    """Write the progress of a run. The run's own process calls this, and `runner.run_missing` reads it.

    share: of the run that is done, 0 to 1.
    """
    status = {**process.own(), "phase": phase, "share": round(float(share), 4), "heartbeat": time.time()}
    runs.write_json(status_file(profile, digest), status, lasting=False)


def read_status(profile: str, digest: str, pid: int | None) -> dict:
    """Return the progress of the run's process `pid`, with `phase` and `share`.

    The phase is `starting` before the process's first status, and `waiting` while a live process of another
    runner executes the run. pid None: the process is on another machine, and its first phase is `queued`.
    """
    try:
        status = runs.read_json(status_file(profile, digest))
        _ = status["pid"], status["phase"], status["share"]  # a damaged file lacks one
    except (UserError, LookupError, TypeError):
        status = {"pid": 0, "phase": "queued", "share": 0.0}  # none has been written yet, or it is damaged
    if pid is None or status["pid"] == pid:
        return status
    waits = status["pid"] and process.alive(status)
    return {"phase": "waiting", "share": status["share"]} if waits else {"phase": "starting", "share": 0.0}
