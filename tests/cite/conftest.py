"""What tests of citing stand on: a study with a report."""

from __future__ import annotations

import pytest
from stored_runs import store

from speechllm_bench.reports import study as reports


@pytest.fixture
def stored(suite):
    """Two variants with two seeds, one that diverged on one of them, and the rest NOT RUN."""
    for variant, seeds in {"cnn": (5, 7), "mlp": (12, 13), "linear": (2, None)}.items():
        for seed, n in enumerate(seeds):
            store(variant, seed, n)
    reports.write("adapter_size", "mini", draw=False)
    return suite
