import pytest

from speechllm_bench.reports.claims import verdict, verdict_on_divergence
from speechllm_bench.schema import Interval


def difference(low, value, high, seeds=3, speakers=30):
    return Interval(value, low, high, 200, speakers, seeds)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "not run"),
        (difference(0.05, 0.1, 0.15), "agrees"),
        (difference(-0.15, -0.1, -0.05), "disagrees"),
        (difference(0.01, 0.02, 0.03), "direction only"),  # sure, but under 0.05
        (difference(-0.03, -0.02, -0.01), "direction against"),
        (difference(-0.01, 0.1, 0.2), "inconclusive"),
        (difference(0.0, 0.0, 0.0), "inconclusive"),
        (difference(0.05, 0.1, 0.15, seeds=1), "direction only"),  # one seed says no more
        (difference(0.01, 0.02, 0.03, seeds=1), "inconclusive"),  # one seed, and under 0.05
        (difference(-0.15, -0.1, -0.05, seeds=1), "direction against"),
        (difference(-0.03, -0.02, -0.01, seeds=1), "inconclusive"),
        (difference(0.1, 0.1, 0.1, speakers=1), "inconclusive"),  # one speaker has no interval
    ],
)
def test_rule_14(found, said):
    assert verdict(found) == said


def test_a_scale_that_was_not_run_is_said_first():
    assert verdict(None, testable=False) == "not testable at this scale"
    assert verdict(difference(0.05, 0.1, 0.15), testable=False) == "not testable at this scale"


@pytest.mark.parametrize(
    ("better", "worse", "said"),
    [
        (0, 3, "agrees"),
        (0, 1, "direction only"),
        (2, 0, "disagrees"),
        (1, 0, "direction against"),
        (1, 3, "inconclusive"),
    ],
)
def test_a_variant_that_diverges_is_behind_one_that_does_not(better, worse, said):
    assert verdict_on_divergence(better, worse) == said
