"""A cache of bootstrap intervals. The key of an interval is a digest of its data, its rule and its code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from speechllm_bench import metrics, stats
from speechllm_bench.errors import UserError
from speechllm_bench.stats import Comparison, SpeakerSums, Statistic
from speechllm_bench.storage import runs, sealed

_known: dict[str, Comparison] = {}  # by digest
_used: set[str] = set()


def interval_of(
    systems: Sequence[SpeakerSums],
    weights: Sequence[float],
    rule: Statistic,
    seed_variance: float | None,
    draw: Callable[[], Comparison],
) -> Comparison:
    """Return the interval of a weighted sum of systems' statistics; calls `draw` if it is not cached.

    systems, weights, rule and seed_variance are the arguments of `stats.contrast`.
    """
    about = [(one.n, one.items, one.speakers, one.sums.shape) for one in systems]
    content = sha256(repr((about, list(weights), seed_variance, rule.__qualname__, _code(rule))).encode())
    for one in systems:
        content.update(np.ascontiguousarray(one.sums).tobytes())
    key = content.hexdigest()[:32]
    if key not in _known:
        _known[key] = draw()
    _used.add(key)
    return _known[key]


@contextlib.contextmanager
def kept(file: Path, others: bool = False) -> Iterator[None]:
    """Load the intervals in `file` for the block; afterwards store those that the block used.

    others: also keep stored intervals that were not used. A missing or damaged file counts as empty.
    """
    stored: dict[str, Comparison] = {}
    with contextlib.suppress(UserError, KeyError, TypeError, AttributeError):
        stored = {key: Comparison(*fields) for key, fields in sealed.read(file)["intervals"].items()}
    _known.update(stored)
    _used.clear()
    yield
    wanted = _used | stored.keys() if others else _used
    if wanted != stored.keys():
        sealed.write(file, {"intervals": {key: astuple(_known[key]) for key in sorted(wanted)}}, {})


@cache
def _code(rule: Statistic) -> str:
    """Return a digest of the source files that affect an interval of this rule."""
    modules = {Path(stats.__file__), Path(str(sys.modules[rule.__module__].__file__))}
    modules.add(Path(__file__).with_name("score.py"))  # it seeds the draws
    files = sorted(modules | set(Path(metrics.__file__).parent.glob("*.py")))
    return runs.digest(np.__version__, [runs.file_sha256(file) for file in files])
