"""The front door: a tidy frame of a study's numbers, without torch and without anything that reports need."""

from __future__ import annotations

import subprocess
import sys

import pytest
from stored_runs import store

import speechllm_bench as bench
from speechllm_bench.errors import UserError
from speechllm_bench.reports import study as reports
from speechllm_bench.storage import numbers


@pytest.fixture
def stored(suite):
    """A study with a report of two variants."""
    for variant, right in {"cnn": 5, "mlp": 12}.items():
        store(variant, 0, right)
    reports.write("adapter_size", "mini", draw=False)
    return suite


def test_a_row_a_variant_and_metric_with_its_interval_and_id(stored):
    frame = bench.results("adapter_size", profile="mini").set_index("id")
    row = frame.loc["mini/adapter_size/mlp/A/f1"]
    cell = numbers.find("mini/adapter_size/mlp/A/f1").cell
    assert (row["value"], row["low"], row["high"], row["shown"]) == tuple(
        getattr(cell, name) for name in ("value", "low", "high", "shown")
    )
    assert (row["variant"], row["test_set"], row["metric"], row["n"], row["seeds"]) == (
        "mlp",
        "A",
        "f1",
        20,
        1,
    )
    lacking = frame[frame["variant"] == "no_audio"]
    assert lacking["status"].tolist() == ["NOT RUN"] and lacking["value"].isna().all()
    claims = bench.results("adapter_size", profile="mini", table="claims")
    verdicts = claims[claims["metric"] == "verdict"].set_index("variant")["shown"]
    assert verdicts["mlp-cnn"] != verdicts["transformer-cnn"] == "not run"


def test_without_a_report_the_numbers_are_computed_and_are_the_same(stored):
    reported = bench.results("adapter_size", profile="mini")
    numbers.file("mini").unlink()
    assert (
        bench.results("adapter_size", profile="mini")
        .sort_values("id", ignore_index=True)
        .equals(reported.sort_values("id", ignore_index=True))
    )
    with pytest.raises(UserError, match="there is no study 'adapter'"):
        bench.results("adapter", profile="mini")


def test_nothing_slow_is_loaded(stored):
    code = """
import sys
import speechllm_bench as bench
frame = bench.results("adapter_size", profile="mini")
print(len(frame), *sorted({"torch", "transformers", "scipy", "matplotlib", "pydantic"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == [] and int(done.stdout) > 10


def test_other_names_are_refused_as_python_does():
    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        _ = bench.other
    assert set(bench.__all__) == {"load", "results"}
