"""Memory that a process has freed is still its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

FREES = """
import psutil, torch
from speechllm_bench.models.pretrained import keep_freed_memory
if {kept} and not keep_freed_memory():
    raise SystemExit("no glibc")
block = torch.ones(2**26)  # 256 MiB
del block
print(psutil.Process().memory_info().rss)
"""


def resident(kept: bool) -> int:
    ran = subprocess.run([sys.executable, "-c", FREES.format(kept=kept)], capture_output=True, text=True)
    if "no glibc" in ran.stderr:
        pytest.skip("memory is kept with glibc alone")
    return int(ran.stdout)


def test_what_is_freed_stays_with_the_process():
    assert resident(kept=True) > resident(kept=False) + 2**27
