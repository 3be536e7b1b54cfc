"""Memory that a process has freed is still its own, and kernels of many shapes do not fill it."""

from __future__ import annotations

import os
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


SHAPES = """
import ctypes, torch
import speechllm_bench.models
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefg"] + [("used", ctypes.c_size_t)]
    _fields_ += [(name, ctypes.c_size_t) for name in "ij"]
try:
    mallinfo = ctypes.CDLL("libc.so.6").mallinfo2
except (OSError, AttributeError):
    raise SystemExit("no glibc")
mallinfo.restype = Info
weight = torch.ones(64, 64, dtype=torch.bfloat16)
before = mallinfo().used
for n in range(1, 500):
    torch.nn.functional.linear(torch.ones(n, 64, dtype=torch.bfloat16), weight)
print(mallinfo().used - before)
"""


def test_kernels_of_many_shapes_are_not_all_stored():
    """A sequence is trimmed, so nearly every step has new shapes. torch stores up to 1,024 kernels twice."""

    def used(**settings: str) -> int:
        ran = subprocess.run(
            [sys.executable, "-c", SHAPES], capture_output=True, text=True, env=os.environ | settings
        )
        if "no glibc" in ran.stderr:
            pytest.skip("memory is counted with glibc alone")
        return int(ran.stdout)

    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    by_default = used(**dict.fromkeys(names, "1024"))
    if by_default < 2**25:
        pytest.skip("this processor has no kernels for bf16 that are stored per shape")
    assert used() < by_default / 2
