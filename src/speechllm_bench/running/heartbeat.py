"""The heartbeat of a run: its own process writes how far it is, and the runner reads it.

Each run has one small file beside the cache. It goes away when the run ends.
"""

from __future__ import annotations

import time
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.running import lifeline
from speechllm_bench.storage import paths, runs


def status_file(digest: str) -> Path:
    return paths.cache() / "status" / f"{digest}.json"


def write_status(digest: str, phase: str, share: float) -> None:
    """Say how far a run is; called by the run's own process, read by `runner.run_missing`."""
    status = {**lifeline.own(), "phase": phase, "share": round(float(share), 4), "heartbeat": time.time()}
    runs.write_json(status_file(digest), status, lasting=False)


def read_status(digest: str, pid: int | None) -> dict:
    """How far the run's process `pid` is. It waits while another one, of a second runner, does the run.

    None: of the run's process on another machine, which is in a queue until it has said something.
    """
    try:
        status = runs.read_json(status_file(digest))
    except UserError:
        status = {"pid": 0, "phase": "queued", "share": 0.0}  # nobody has said anything yet
    if pid is None or status["pid"] == pid:
        return status
    waits = status["pid"] and lifeline.alive(status)
    return {"phase": "waiting", "share": status["share"]} if waits else {"phase": "starting", "share": 0.0}
