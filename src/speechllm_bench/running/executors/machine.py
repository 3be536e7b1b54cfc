"""The cores, memory and GPUs of this machine. GPUs come from `nvidia-smi`; torch is not imported."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

import psutil

MEMORY_OF_A_RUN = 2 * 2**30  # bytes of a run with embedded backbones at smoke; used if no run is recorded
JOBS_A_GPU = 4  # default maximum per GPU; more jobs only slow each other down
QUERY = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
USABLE = 0.95  # share of the memory; the driver reserves the rest


@dataclass(frozen=True)
class Gpu:
    name: str  # as CUDA_VISIBLE_DEVICES names it
    gib: float  # usable memory


def gpus() -> list[Gpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES makes visible, in its order; empty without a driver."""
    found = _present()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [Gpu(index, gib) for index, _, gib in found]
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [Gpu(name, gib) for name in names for index, uuid, gib in found if _is(name, index, uuid)]


def smallest_gpu() -> float:
    """Return the usable GiB of this machine's smallest GPU, visible or not; 0 without a GPU."""
    return min((gib for _, _, gib in _present()), default=0.0)


def _present() -> list[tuple[str, str, float]]:
    """Return index, uuid and usable GiB of every GPU of this machine; empty without a driver."""
    try:
        told = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=30).stdout
        lines = [[part.strip() for part in line.split(",")] for line in told.splitlines() if line.strip()]
        return [(index, uuid, USABLE * float(mib) / 1024) for index, uuid, mib in lines]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def _is(name: str, index: str, uuid: str) -> bool:
    return name == index or (len(name) > 4 and uuid.startswith(name))  # a uuid may be shortened


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once(found: list[Gpu], run_memory: int | None = None) -> int:
    """Return the number of parallel jobs: one per core as memory allows, and at most `JOBS_A_GPU` per GPU.

    run_memory: bytes that a run takes (None: `MEMORY_OF_A_RUN`).
    """
    memory = psutil.virtual_memory().available // (run_memory or MEMORY_OF_A_RUN)
    return max(1, min(cores(), memory, JOBS_A_GPU * len(found) or cores()))
