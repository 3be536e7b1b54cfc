"""Memory of training steps of many shapes, by kernels stored. Writes benchmarks/kernel_memory.md.

    python benchmarks/kernel_memory.py

Needs Linux with glibc; takes about four minutes on one core. The LLM has the size of SmolLM2-135M, random
weights and precision `mixed`. Memory is what the process has allocated, so other work has no effect on it.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from tabulate import tabulate
from transformers import LlamaConfig, LlamaForCausalLM

from speechllm_bench.models import KERNELS
from speechllm_bench.models.bf16 import keep_linears_in_bf16
from speechllm_bench.storage import runs

CAPACITIES = ("1024", KERNELS)  # torch's own, and the suite's
CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
STEPS, EVERY, BATCH = 30, 10, 4
SHAPE = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
PAGE = Path(__file__).with_name("kernel_memory.md")
TEXT = """# Memory of stored kernels

MiB that a process has allocated, by `python benchmarks/kernel_memory.py` on {machine}, torch {torch}, one
thread. A step computes the hidden states of {batch} sequences of 60 to 200 vectors, in bf16, and the
gradients. The LLM has the size of SmolLM2-135M and random weights. Each step has another length, and torch
keeps a compiled kernel for each shape in two caches.

{table}
"""


class Allocated(ctypes.Structure):
    """glibc's `struct mallinfo2`: bytes in use are `hblkhd` (large blocks) and `uordblks` (the others)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def steps() -> list[float]:
    """Return the MiB in use before the first step and after every tenth, then the processor seconds."""
    mallinfo = ctypes.CDLL("libc.so.6").mallinfo2
    mallinfo.restype = Allocated

    def used() -> float:
        now = mallinfo()
        return float(now.hblkhd + now.uordblks) / 2**20

    torch.set_num_threads(1)
    torch.manual_seed(0)
    llm = LlamaForCausalLM(LlamaConfig(**SHAPE)).requires_grad_(False)
    keep_linears_in_bf16(llm)
    found, began = [used()], time.process_time()
    for step in range(1, STEPS + 1):
        length = int(torch.randint(60, 201, ()))
        vectors = torch.randn(BATCH, length, llm.config.hidden_size, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = llm.model(inputs_embeds=vectors).last_hidden_state
        hidden.float().pow(2).mean().backward()
        del vectors, hidden
        if step % EVERY == 0:
            found.append(used())
    return [*found, time.process_time() - began]


def measured(capacity: str) -> list[float]:
    """Return `steps` of a process of its own, whose caches hold `capacity` kernels each."""
    command = [sys.executable, __file__, "steps"]
    ran = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | dict.fromkeys(CACHES, capacity)
    )
    return [float(number) for number in json.loads(ran.stdout)]


def main() -> None:
    if sys.argv[1:] == ["steps"]:
        print(json.dumps(steps()))
        return
    lines = [[f"{int(capacity):,}", *(f"{n:,.0f}" for n in measured(capacity))] for capacity in CAPACITIES]
    after = [f"after {n} steps" for n in range(EVERY, STEPS + 1, EVERY)]
    columns = ["kernels a cache", "before", *after, "processor seconds"]
    table = tabulate(lines, columns, tablefmt="github", disable_numparse=True)
    environment = runs.environment()
    said = TEXT.format(
        machine=environment["processor"], torch=environment["libraries"]["torch"], batch=BATCH, table=table
    )
    runs.write_text(PAGE, said)
    print(table)


if __name__ == "__main__":
    main()
