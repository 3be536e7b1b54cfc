import pytest

from speechllm_bench.metrics import Counts, partial_match


@pytest.mark.parametrize(
    ("gold", "predicted", "credit"),
    [
        ("new york", "new york", 1),
        ("New  York", "new york", 1),
        ("new york", "york new", 0.5),
        ("new york", "york", 2 / 3),
        ("a b c d", "a b x c d", 4 / 9),  # the longest run, not all common words
        ("a b c d", "x a b c", 6 / 8),
        ("york", "yorkshire", 0),  # words, not letters
        ("a", "the whole transcript with a word", 2 / 7),
        ("a", "", 0),
        ("", "", 0),
    ],
)
def test_credit(gold, predicted, credit):
    assert partial_match.credit(gold, predicted) == pytest.approx(credit)
    assert partial_match.credit(predicted, gold) == pytest.approx(credit)


@pytest.mark.parametrize(
    ("gold", "predicted", "counts"),
    [
        ({}, {}, (0, 0, 0)),
        ({}, None, (0, 0, 0)),
        ({"city": "york"}, None, (0, 0, 1)),  # unparsable
        ({"city": "york"}, {}, (0, 0, 1)),
        ({"city": "york"}, {"city": None, "day": ""}, (0, 0, 1)),
        ({"city": "york"}, {"day": "york"}, (0, 1, 1)),  # right words, wrong slot
        ({"city": "york"}, {"city": "york", "day": "monday"}, (1, 2, 1)),
        ({"city": "new york", "day": "monday"}, {"city": "york", "day": "monday"}, (5 / 3, 2, 2)),
    ],
)
def test_counts(gold, predicted, counts):
    assert partial_match.counts(gold, predicted) == pytest.approx(Counts(*counts))


def test_score_of_a_corpus_sums_credits():
    total = partial_match.Counts(5 / 3, 2, 3)
    assert partial_match.score(total)["f1"] == pytest.approx(2 / 3)
