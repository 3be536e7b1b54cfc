"""bf16 arithmetic with fp32 weights: which devices use it, and how the frozen LLM is prepared for it."""

from __future__ import annotations

import contextlib
import time
from functools import cache

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import Precision
from speechllm_bench.storage import paths, runs

INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
PAYS = 1.3
"""Least speed-up of a bf16 matrix product over fp32 for which bf16 is used, since conversions take time too.

The speed-up was 0.41 to 0.66 on an Intel Sapphire Rapids with hidden AMX. An encoder ran 1.8 times as fast in
bf16 on an AMD Zen 4.
"""


def computes_in_bf16(precision: Precision, device: str) -> bool:
    """Return whether a model of this precision computes in bf16 on a device ("cpu", "cuda").

    On a CPU `mixed` does so only where the processor has fast bf16 instructions (`PAYS`).
    """
    if precision == "mixed" and device == "cpu":
        found = torch.cpu.get_capabilities()
        return any(found.get(name) for name in INSTRUCTIONS) and speedup_of_bf16() >= PAYS
    return precision != "fp32"


@cache
def speedup_of_bf16() -> float:
    """Return the speed of this processor's bf16 matrix product relative to fp32.

    It is measured once for a processor and a torch, in 0.2 s, and stored in the cache folder. So all runs of
    a machine compute in the same arithmetic, also those that start while it is busy.
    """
    key = runs.digest(runs.environment()["processor"], torch.__version__)
    file = paths.cache() / "bf16" / f"{key}.json"
    with contextlib.suppress(UserError, KeyError, TypeError, ValueError):  # missing or damaged
        return float(runs.read_json(file)["speedup"])
    found = _measured_speedup()
    with contextlib.suppress(OSError):  # in a folder that cannot be written, each process measures
        file.parent.mkdir(parents=True, exist_ok=True)
        runs.write_json(file, {"speedup": found})
    return found


def _measured_speedup() -> float:
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(20):  # short and often, so that on a busy machine some are not interrupted
        for dtype, seconds in best.items():  # in turn, so that other work on the machine slows both
            best[dtype] = min(seconds, _seconds_of_product(dtype))
    return best[torch.float32] / best[torch.bfloat16]


def _seconds_of_product(dtype: torch.dtype) -> float:
    """Return the seconds of 128 tokens in a feed-forward layer of a small LLM."""
    x, weight = torch.ones(128, 576, dtype=dtype), torch.ones(1536, 576, dtype=dtype)
    began = time.perf_counter()
    nn.functional.linear(x, weight)
    return time.perf_counter() - began


class Fp32Linear(nn.Linear):
    """A linear layer that computes in fp32 even under autocast.

    It is for the LLM's head: bf16 logits from 8 upwards are multiples of 1/16, so the likeliest tokens often
    tie.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return nn.functional.linear(hidden.float(), self.weight, self.bias)


def keep_linears_in_bf16(llm: PreTrainedModel) -> None:
    """Round the weights of the frozen linear layers, except the head, to bf16 once instead of at each step.

    On a CPU attention becomes eager (plain matrix products), because the gradient of torch's fused attention
    takes ten times as long there in bf16.
    """
    if llm.device.type == "cpu":
        llm.set_attn_implementation("eager")
    head = llm.get_output_embeddings()
    if isinstance(head, nn.Linear):
        exact = Fp32Linear(head.in_features, head.out_features, head.bias is not None, device="meta")
        exact.weight, exact.bias = head.weight, head.bias  # shared with the embeddings where they are tied
        llm.set_output_embeddings(exact)
    for module in llm.modules():
        if isinstance(module, nn.Linear) and not isinstance(module, Fp32Linear):
            module.to(torch.bfloat16)
