import json
import unicodedata

import pytest

from speechllm_bench.metrics import Counts, f1, partial_match
from speechllm_bench.tasks import slots


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
    assert f1(total) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("gold", "predicted", "credit"),
    [
        ("three nine five nine six one", "395961", 1),
        ("three nine five nine six one", "39 5961", 1),
        ("three nine five nine six one", "39596", 10 / 11),  # a run of 5 of 6 and 5 digits
        ("three nine five nine six one", "395061", 2 * 3 / 12),
        ("double oh seven", "007", 1),
        ("new york", "New York.", 1),
        ("new york", "york", 2 / 3),
        ("new york", "york new", 0.5),
        ("the colour grey", "the color gray", 1),
        ("i can't", "I cannot", 2 * 1 / 5),  # "can not" against "cannot"
        ("d m six five", "dm 65", 2 * 2 / 7),
        ("caf\u00e9", "cafe", 1),
        ("york", "yorkshire", 0),
        ("um", "um", 1),  # of which the normaliser leaves nothing
        ("um", "uh", 0),
        ("york", "?", 0),
        ("york", "", 0),
    ],
)
def test_credit_of_version_2(gold, predicted, credit):
    assert partial_match.credit_v2(gold, predicted) == pytest.approx(credit)
    assert partial_match.credit_v2(predicted, gold) == pytest.approx(credit)


NUMBER = {"account number": "three nine five nine six one"}


@pytest.mark.parametrize(
    ("gold", "raw", "counts"),
    [
        (NUMBER, '{"account number": "395961"}', (1, 1, 1)),
        (NUMBER, '{"account number": 395961}', (0, 1, 1)),  # a number is a wrong pair, whatever its digits
        (NUMBER, '{"account number": NaN}', (0, 1, 1)),
        (NUMBER, '{"account number": ["395961"]}', (0, 1, 1)),
        (NUMBER, '{"account number": []}', (0, 1, 1)),
        (NUMBER, '{"account number": {"account number": "395961"}}', (0, 1, 1)),
        (NUMBER, '{"account number": {}}', (0, 1, 1)),
        (NUMBER, '{"account number": false}', (0, 1, 1)),
        (NUMBER, '{"account number": null}', (0, 0, 1)),
        (NUMBER, '{"account number": " \\n"}', (0, 0, 1)),
        (NUMBER, '{"account number": "?"}', (0, 1, 1)),
        (NUMBER, "{}", (0, 0, 1)),
        (NUMBER, '["395961"]', (0, 0, 1)),  # unparsable, as all below
        (NUMBER, "395961", (0, 0, 1)),
        (NUMBER, '{"account number": "395961"', (0, 0, 1)),
        (NUMBER, "[" * 100_000, (0, 0, 1)),
        (NUMBER, "1" * 5000, (0, 0, 1)),
        ({}, "{}", (0, 0, 0)),
        ({}, '{"city": 3}', (0, 1, 0)),
        # A slot given twice: the last value stands, and each earlier one is a pair without gold.
        ({"city": "york"}, '{"city": "york", "city": "york"}', (1, 2, 1)),
        ({"city": "york"}, '{"city": "rome", "city": "oslo", "city": "york"}', (1, 3, 1)),
        ({"city": "york"}, '{"city": "york", "city": "rome"}', (0, 2, 1)),
        ({"city": "york"}, '{"city": null, "city": "york"}', (1, 1, 1)),
        ({"city": "york"}, '{"city": "york", "city": null}', (0, 1, 1)),
        ({"city": "york"}, '{"city": "york", "city": 3}', (0, 2, 1)),
        ({"home_city": "york"}, '{"home city": "rome", "home_city": "york"}', (1, 2, 1)),
        ({}, '{"city": {"a": 1, "a": 2}}', (0, 1, 0)),
        # Text that is no text for most programs.
        ({"city": "york"}, '{"city": "york \\ud83d"}', (2 / 3, 1, 1)),
        ({"city": "york"}, '{"\\ud83d": "york"}', (0, 1, 1)),
        ({"city": "york"}, '{"city": "\\u0000york"}', (0, 1, 1)),
        ({"city": "malm\u00f6"}, '{"city": "malmo\\u0308"}', (1, 1, 1)),
        ({"f\u00f6r": "a"}, '{"fo\\u0308r": "a"}', (1, 1, 1)),
        ({"city": "york"}, json.dumps({"city": "york " + "1" * 5000}), (2 / 5002, 1, 1)),
    ],
)
def test_counts_of_version_2(gold, raw, counts):
    said = slots.parse(raw)
    found = partial_match.counts_v2(slots.parse(slots.target(gold)), said and said.given)
    assert found == pytest.approx(Counts(*counts))


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ('{"city": "rome", "city": "york"}', {"city": "york"}),
        ('{"home city": "a", "home_city": "b", "home city": "c"}', {"home_city": "b"}),
        ('{"a": {"b": [1, {"c": null}]}, "d": 3}', {"a": {"b": [1, {"c": None}]}, "d": 3}),
    ],
)
def test_a_slot_given_twice_is_to_version_1_what_it_was(raw, values):
    """`parse` gives the dict that json and a dict of the slots' own names give."""
    assert slots.parse(raw) == values
    assert values == {slots.written_name(name): value for name, value in json.loads(raw).items()}
    assert slots.parse(raw) == json.loads(json.dumps(slots.parse(raw)))


def test_every_pair_of_an_answer_is_kept_in_its_order_under_the_slots_own_names():
    raw = '{"town": "rome", "when": null, "city": "york", "town": 3}'
    assert slots.parse(raw, {"town": "city"}).given == (
        ("city", "rome"), ("when", None), ("city", "york"), ("city", 3),
    )  # fmt: skip


def test_version_1_compares_code_points_and_version_2_does_not():
    decomposed = unicodedata.normalize("NFD", "malm\u00f6")
    assert partial_match.credit("malm\u00f6", decomposed) == 0
    assert partial_match.credit_v2("malm\u00f6", decomposed) == 1
