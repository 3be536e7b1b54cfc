import pytest
import slurp_answers as slurp

from speechllm_bench.metrics import Counts, f1, ner_f1, precision, recall, total

ROME, YORK, MAY = ("PLACE", "rome"), ("PLACE", "york"), ("WHEN", "may")


@pytest.mark.parametrize(
    ("gold", "said", "entities", "tags"),
    [
        ([], [], (0, 0, 0), (0, 0, 0)),
        ([], None, (0, 0, 0), (0, 0, 0)),
        ([ROME, MAY], [MAY, ROME], (2, 2, 2), (2, 2, 2)),  # order does not count
        ([ROME, MAY], None, (0, 0, 2), (0, 0, 2)),
        ([], [ROME], (0, 1, 0), (0, 1, 0)),
        ([ROME], [YORK], (0, 1, 1), (1, 1, 1)),  # the right kind, another phrase
        ([ROME], [("WHEN", "rome")], (0, 1, 1), (0, 1, 1)),  # the right phrase, another kind
        ([ROME, ROME], [ROME], (1, 1, 2), (1, 1, 2)),  # said twice, found once
        ([ROME], [ROME, ROME], (1, 2, 1), (1, 2, 1)),
        ([ROME, YORK, MAY], [ROME, ROME, MAY], (2, 3, 3), (3, 3, 3)),
        ([ROME], [("PLACE", "Rome")], (0, 1, 1), (1, 1, 1)),  # as it is
    ],
)
def test_entities_match_as_multisets(gold, said, entities, tags):
    assert ner_f1.counts(gold, said) == entities
    assert ner_f1.label_counts(gold, said) == tags


def test_the_published_figure_is_of_all_entities_together():
    pairs = [([ROME, MAY], [ROME]), ([YORK], [YORK, MAY]), ([], [])]
    summed = total(ner_f1.counts(*pair) for pair in pairs)
    assert summed == Counts(2, 3, 3)
    assert precision(summed) == recall(summed) == f1(summed) == 2 / 3


def test_slurps_published_entity_counts(bench_data):
    """SLURP's span F1 is the same rule on types and fillers: a real system's TP, FP and FN."""
    folder = bench_data / "slurp"
    gold = slurp.read_gold(folder / "test.jsonl")
    said = slurp.read_predictions(folder / "multi_sfid_predictions.jsonl")

    def pairs(answer):
        return [(entity["type"], entity["filler"]) for entity in answer["entities"]]

    summed = total(ner_f1.counts(pairs(gold[f]), pairs(said[f])) for f in gold if f in said)
    assert summed == Counts(6565, 6565 + 3368, 6565 + 5331)
