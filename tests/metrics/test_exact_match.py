import pytest

from speechllm_bench.metrics import Counts, exact_match


@pytest.mark.parametrize(
    ("gold", "predicted", "counts"),
    [
        ({}, {}, (0, 0, 0)),
        ({"city": "york"}, None, (0, 0, 1)),
        ({"city": "new york"}, {"city": " New   York "}, (1, 1, 1)),
        ({"city": "new york"}, {"city": "york"}, (0, 1, 1)),
        ({"city": "york", "day": "monday"}, {"city": "monday", "day": "york"}, (0, 2, 2)),
        ({"city": "york"}, {"city": 3}, (0, 0, 1)),
    ],
)
def test_counts(gold, predicted, counts):
    assert exact_match.counts(gold, predicted) == Counts(*counts)
