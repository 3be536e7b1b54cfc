"""This machine's cores, memory, and GPUs by `nvidia-smi`, without torch."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

import psutil

MEMORY_OF_A_RUN = 2 * 2**30  # of the embedded backbones at smoke, where no run is on record
JOBS_A_GPU = 4  # at most, where nobody says how many: beyond it they take each other's time
QUERY = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
USABLE = 0.95  # of the memory: the driver keeps some


@dataclass(frozen=True)
class Gpu:
    name: str  # as CUDA_VISIBLE_DEVICES names it
    gib: float  # usable memory


def gpus() -> list[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES leaves visible, in its order; none without a driver."""
    try:
        told = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=30).stdout
        lines = [[part.strip() for part in line.split(",")] for line in told.splitlines() if line.strip()]
        found = [(index, uuid, USABLE * float(mib) / 1024) for index, uuid, mib in lines]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [Gpu(index, gib) for index, _, gib in found]
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [Gpu(name, gib) for name in names for index, uuid, gib in found if _is(name, index, uuid)]


def _is(name: str, index: str, uuid: str) -> bool:
    return name == index or (len(name) > 4 and uuid.startswith(name))  # a uuid may be shortened


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once(found: list[Gpu], run_memory: int | None = None) -> int:
    """One job a core, as far as memory goes; where there are GPUs, `JOBS_A_GPU` on each at most.

    run_memory: bytes that a run takes (None: `MEMORY_OF_A_RUN`).
    """
    memory = psutil.virtual_memory().available // (run_memory or MEMORY_OF_A_RUN)
    return max(1, min(cores(), memory, JOBS_A_GPU * len(found) or cores()))
