import numpy as np

from speechllm_bench.metrics import Counts, f1, pairs, precision, recall, total


def test_no_counts_score_zero():
    assert total([]) == Counts(0, 0, 0)
    assert precision(Counts(0, 0, 0)) == recall(Counts(0, 0, 0)) == f1(Counts(0, 0, 0)) == 0


def test_counts_add_and_score():
    summed = total([Counts(1, 2, 1), Counts(0.5, 1, 3)])
    assert summed == Counts(1.5, 3, 4)
    assert (precision(summed), recall(summed), f1(summed)) == (0.5, 0.375, 3 / 7)


def test_f1_of_many_sums_at_once_is_f1_of_each():
    sums = np.array([[[1, 2, 4], [0, 0, 0]], [[3, 3, 3], [0, 5, 1]]], float)
    assert f1(sums).tolist() == [[1 / 3, 0], [1, 0]]


def test_null_empty_and_non_text_values_are_no_pair():
    answer = {"a": "x", "b": None, "c": "", "d": "  ", "e": 3, "f": ["x"]}
    assert pairs(answer) == {"a": "x"}
    assert pairs({}) == pairs(None) == {}
