"""bf16 arithmetic over an fp32 model: where a device has it, and what it needs of the frozen LLM."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from speechllm_bench.settings.config import Precision

INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
PAYS = 1.3
"""How many times as fast as in fp32 a product of matrices must be, since conversions take time as well.

It was 0.41 to 0.66 on an Intel Sapphire Rapids whose AMX is hidden. An encoder ran 1.8 times as fast in bf16
on an AMD Zen 4.
"""


def computes_in_bf16(precision: Precision, device: str) -> bool:
    """Whether a model of this precision computes in bf16 on a device ("cpu", "cuda").

    `mixed` does so where the processor has instructions for it that pay; elsewhere bf16 would be slower.
    """
    if precision == "mixed" and device == "cpu":
        found = torch.cpu.get_capabilities()
        return any(found.get(name) for name in INSTRUCTIONS) and speedup_of_bf16() >= PAYS
    return precision != "fp32"


@cache
def speedup_of_bf16() -> float:
    """How many times as fast as in fp32 this processor multiplies matrices in bf16; takes 0.2 s, once."""
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(5):
        for dtype, seconds in best.items():  # in turn, so that other work on the machine slows both
            best[dtype] = min(seconds, _seconds_of_product(dtype))
    return best[torch.float32] / best[torch.bfloat16]


def _seconds_of_product(dtype: torch.dtype) -> float:
    """Of a product as a small LLM's feed-forward layer has it."""
    x, weight = torch.ones(512, 576, dtype=dtype), torch.ones(1536, 576, dtype=dtype)
    began = time.perf_counter()
    nn.functional.linear(x, weight)
    return time.perf_counter() - began


class Fp32Linear(nn.Linear):
    """A linear layer that computes in fp32 under autocast as well.

    For the LLM's head: bf16 logits are multiples of 1/16 from 8 upwards, and the likeliest tokens tie.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return nn.functional.linear(hidden.float(), self.weight, self.bias)


def keep_linears_in_bf16(llm: PreTrainedModel) -> None:
    """Round the frozen linear layers' weights to bf16 once, as autocast would at each step, but the head's.

    On a CPU attention is plain matrix products, too: the gradient of torch's fused one takes ten times as
    long there in bf16.
    """
    if llm.device.type == "cpu":
        llm.set_attn_implementation("eager")
    head = llm.get_output_embeddings()
    if isinstance(head, nn.Linear):
        exact = Fp32Linear(head.in_features, head.out_features, head.bias is not None, device="meta")
        exact.weight, exact.bias = head.weight, head.bias  # the embeddings' own where they are tied
        llm.set_output_embeddings(exact)
    for module in llm.modules():
        if isinstance(module, nn.Linear) and not isinstance(module, Fp32Linear):
            module.to(torch.bfloat16)
