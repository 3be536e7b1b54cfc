"""Where the time of a piece of work goes, and the limit that its products of matrices and attention set.

All times are CPU-seconds of one thread. `speed.py` and `peers.py` show them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

ROUNDS = 3
PRODUCTS, ATTENTION = "products of matrices", "attention"
PAIRS = {"aten::mm": 0, "aten::addmm": 1, "aten::bmm": 0, "aten::baddbmm": 1}
"""Products of two matrices, with the place of the first one among the inputs."""
ELEMENTWISE = """
add add_ sub mul mul_ div neg pow rsqrt mean sum silu gelu silu_backward gelu_backward _softmax _log_softmax
_log_softmax_backward_data copy_ cat fill_ index where masked_scatter native_layer_norm
"""
KINDS = {
    PRODUCTS: {*PAIRS, "aten::convolution"},
    ATTENTION: {
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    },
    "elementwise": {f"aten::{name}" for name in ELEMENTWISE.split()},
}


@dataclass(frozen=True)
class Profiled:
    """The profile of a piece of work."""

    shares: dict[str, float]  # of its time under the profiler, by kind of operation
    rate: float  # FLOP/s of its products
    alone: float  # the rate of its products, as a share of their rate when each is repeated alone
    floor: float  # share of its time without the profiler that its products alone and its attention need


def profiled(side: Callable[[], object]) -> Profiled:
    """Return the profile of `side`, which does the same work at each call."""
    whole = statistics.median(_seconds(side) for _ in range(ROUNDS))
    with profile(activities=[ProfilerActivity.CPU], with_flops=True, record_shapes=True) as measured:
        began = time.perf_counter()
        under = sum(_seconds(side) for _ in range(ROUNDS))
        taken = time.perf_counter() - began
    scale = under / taken / 1e6  # the profiler's times are on the clock, in which other processes ran too
    spent = dict.fromkeys((*KINDS, "other operations"), 0.0)
    flops, paired, alone = 0, 0.0, 0.0
    for event in measured.key_averages(group_by_input_shape=True):
        kind = next((kind for kind, names in KINDS.items() if event.key in names), "other operations")
        seconds = event.self_cpu_time_total * scale
        spent[kind] += seconds
        if event.key in PAIRS:
            flops += event.flops
            paired += seconds
            alone += event.count * _alone(event.key, event.input_shapes)
    spent["between operations"] = max(0.0, under - sum(spent.values()))
    needed = alone + spent[PRODUCTS] - paired + spent[ATTENTION]
    shares = {kind: seconds / sum(spent.values()) for kind, seconds in spent.items()}
    return Profiled(shares, flops / paired, alone / paired, needed / ROUNDS / whole)


def own_rate() -> float:
    """Return the FLOP/s of this core in a large fp32 matrix product, the best of several."""
    x = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(_seconds(lambda: x @ x) for _ in range(2 * ROUNDS))


def limit(ratio: float, aim: float, floor: float) -> tuple[str, str]:
    """Return two cells: the best ratio, and the share of the rest's time that the aim leaves.

    ratio: time of the other program divided by ours. floor: `Profiled.floor` of ours. The best ratio is that
    of a suite in which all but products and attention takes no time.
    """
    left = (ratio / aim - floor) / (1 - floor)
    return f"{ratio / floor:.1f}", "met" if ratio >= aim else f"{left:.0%}" if left > 0 else "out of reach"


def _seconds(side: Callable[[], object]) -> float:
    began = time.process_time()
    side()
    return time.process_time() - began


def _alone(name: str, shapes: Sequence[Sequence[int]]) -> float:
    """Return the seconds of one product of these shapes, the best of several, with the matrices at hand."""
    a, b = (torch.randn(*shape) for shape in shapes[PAIRS[name] :][:2])
    times = max(1, int(2e6 / max(1, a.numel() * b.shape[-1])))  # enough for the clock

    def repeated(second: torch.Tensor) -> float:
        return _seconds(lambda: [torch.matmul(a, second) for _ in range(times)]) / times

    with torch.inference_mode():
        kinds = (b, b.mT.contiguous().mT)  # as in backward and as in forward passes
        return min(repeated(second) for second in kinds for _ in range(ROUNDS))
