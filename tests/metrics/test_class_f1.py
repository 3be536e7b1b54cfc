import numpy as np
import pytest

from speechllm_bench.metrics import class_f1
from speechllm_bench.metrics.slue_score import mean_of_tasks

CLASSES = ("a", "b", "c")


def summed(*pairs):
    return np.sum([class_f1.counts(gold, said, CLASSES) for gold, said in pairs], axis=0)


def test_counts_of_one_item_are_correct_predicted_and_gold_of_each_class():
    assert class_f1.counts("b", "b", CLASSES) == (0, 0, 0, 1, 1, 1, 0, 0, 0)
    assert class_f1.counts("a", "c", CLASSES) == (0, 0, 1, 0, 0, 0, 0, 1, 0)
    assert class_f1.counts("a", None, CLASSES) == (0, 0, 1, 0, 0, 0, 0, 0, 0)


def test_macro_and_weighted_by_hand():
    sums = summed(("a", "a"), ("a", "a"), ("a", "b"), ("b", "b"), ("c", "a"))
    # a: 2 of 3 predicted, of 3 gold: 2/3. b: 1 of 2, of 1: 2/3. c: never predicted: 0.
    assert class_f1.macro(sums) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert class_f1.weighted(sums) == pytest.approx((3 * 2 / 3 + 1 * 2 / 3 + 0) / 5)


def test_a_class_that_nobody_names_does_not_count_and_one_that_is_only_predicted_does():
    assert class_f1.macro(summed(("a", "a"), ("b", "b"))) == 1
    only_predicted = summed(("a", "a"), ("a", "c"))  # a: 2/3, c: 0
    assert class_f1.macro(only_predicted) == pytest.approx(1 / 3)
    assert class_f1.weighted(only_predicted) == pytest.approx(2 / 3)


def test_an_unparsable_answer_is_a_miss_and_no_class_of_its_own():
    sums = summed(("a", "a"), ("a", None))
    assert class_f1.macro(sums) == class_f1.weighted(sums) == pytest.approx(2 / 3)


def test_nothing_is_zero_and_many_sums_are_each_of_them():
    assert class_f1.macro(np.zeros(9)) == class_f1.weighted(np.zeros(9)) == 0
    one, other = summed(("a", "a"), ("b", "a")), summed(("c", "c"))
    both = np.array([[one, other]])
    assert class_f1.macro(both).tolist() == [[class_f1.macro(one), class_f1.macro(other)]]
    assert class_f1.weighted(both).shape == (1, 2)


def test_slue_score_of_a_published_row():
    """8.63 / 10.92 / 63.83 / 60.92 in arXiv 2507.12951's README, which gives 71.65; its formula 71.66."""
    assert round(mean_of_tasks([0.0863, 0.1092], 0.6383, 0.6092), 2) == 71.66
    assert mean_of_tasks([0.0], 1.0, 1.0) == 100
