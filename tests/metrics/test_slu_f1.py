"""Fixtures worked out by hand, and parity with SLURP's published program on a published system."""

import pytest
import slurp_answers as slurp

from speechllm_bench.metrics import Counts, f1, precision, recall, slu_f1, total


def entities(*pairs):
    return [{"type": kind, "filler": filler} for kind, filler in pairs]


def test_distances():
    assert slu_f1.word_distance("new york", "new york") == 0
    assert slu_f1.word_distance("new  york", "new york") == 0
    assert slu_f1.word_distance("york", "the city of york") == 3  # may exceed 1
    assert slu_f1.word_distance("york", "") == 1
    assert slu_f1.char_distance("york", "yorks") == 1 / 5
    assert slu_f1.char_distance("a  b", "a b") == 1 / 4  # spaces count
    assert slu_f1.char_distance("", "") == 1
    with pytest.raises(ValueError, match="without words"):
        slu_f1.word_distance(" ", "york")


def test_empty_answers_count_nothing():
    assert slu_f1.slu_counts([], []) == {}
    assert slu_f1.counts({}, {}) == Counts(0, 0, 0)


def test_missing_and_extra_entities():
    gold = entities(("date", "monday"))
    assert slu_f1.slu_counts(gold, []) == {"date": Counts(0, 0, 2)}
    assert slu_f1.slu_counts([], gold) == {"date": Counts(0, 2, 0)}
    counted = slu_f1.slu_counts(gold, entities(("date", "monday"), ("date", "monday"), ("time", "ten")))
    assert counted == {"date": Counts(2, 4, 2), "time": Counts(0, 2, 0)}


def test_distance_above_one_costs_more_than_a_miss():
    counted = slu_f1.distance_counts(
        entities(("place", "york")), entities(("place", "the city of york")), slu_f1.word_distance
    )
    assert counted == {"place": Counts(1, 4, 4)}  # TP 1, FP 3, FN 3


def test_assignment_is_greedy_in_the_order_of_predictions():
    gold = entities(("date", "monday morning"), ("date", "monday"))
    predicted = entities(("date", "monday at"), ("date", "monday morning"))
    counted = slu_f1.distance_counts(gold, predicted, slu_f1.word_distance)
    # "monday at" takes "monday morning" (1/2, against 1 for "monday"); 1 is left for the second.
    assert counted == {"date": Counts(2, 3.5, 3.5)}


def test_slot_answers():
    gold, said = {"city": "new york", "day": "monday"}, {"city": "york", "hour": "ten"}
    correct, predicted, wanted = slu_f1.counts(gold, said)
    distances = 1 / 2 + 4 / 8  # "york" for "new york": by words and by characters
    assert (correct, predicted, wanted) == (2, 2 + distances + 2, 2 + distances + 2)


def test_slot_answers_ignore_case_and_spaces_as_the_other_metrics_do():
    gold = {"city": "new york"}
    assert slu_f1.counts(gold, {"city": " New  York"}) == slu_f1.counts(gold, gold) == Counts(2, 2, 2)
    (kept,) = slu_f1.slu_counts(entities(("city", "york")), entities(("city", "York"))).values()
    assert kept == Counts(2, 2 + 1 + 1 / 4, 2 + 1 + 1 / 4)  # the published program keeps case


@pytest.fixture(scope="module")
def published(bench_data):
    """Gold and predicted answers of the recordings that the published system answered."""
    folder = bench_data / "slurp"
    gold = slurp.read_gold(folder / "test.jsonl")
    said = slurp.read_predictions(folder / "multi_sfid_predictions.jsonl")
    assert (len(gold), len(said)) == (13_078, 14_093)
    return [(gold[file], said[file]) for file in gold if file in said]


def test_the_published_test_set_has_as_many_sentences_as_answers_by_sentence(bench_data):
    gold = slurp.read_gold(bench_data / "slurp" / "test.jsonl", by="slurp_id")
    assert len(gold) == 2974 and sum(len(answer["entities"]) for answer in gold.values()) == 2823


@pytest.mark.parametrize(
    ("distance", "figure"), [(slu_f1.word_distance, 0.658208), (slu_f1.char_distance, 0.689152)]
)
def test_published_distance_f1(published, distance, figure):
    table = slu_f1.add(slu_f1.distance_counts(g["entities"], s["entities"], distance) for g, s in published)
    assert round(float(f1(total(table.values()))), 6) == figure


def test_published_slu_f1(published):
    """The program's figures are known to 6 digits and its counts to 4; agreement is to every digit given."""
    table = slu_f1.add(slu_f1.slu_counts(g["entities"], s["entities"]) for g, s in published)
    correct, predicted, gold = summed = total(table.values())
    assert correct == 16114
    assert round(predicted - correct, 4) == 5854.9897
    assert round(gold - correct, 4) == 9780.9897
    scores = [round(float(rate(summed)), 6) for rate in (precision, recall, f1)]
    assert scores == [0.733488, 0.622283, 0.673325]
