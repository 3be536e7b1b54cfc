"""What is seen when: a pure function of seed and step."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from speechllm_bench.training.schedule import BUCKET, batches, interleave, learning_rate, order

LENGTHS = np.random.default_rng(5).integers(10, 400, 50).tolist()


def plan(examples: int, batch_size: int = 4, seed: int = 0, lengths=LENGTHS):
    rng = np.random.default_rng(seed)
    pairs = order(len(lengths), examples, rng)
    return batches(pairs, [lengths[i] for i, _ in pairs], batch_size, rng)


@pytest.mark.parametrize("examples", [1, 3, 50, 128, 129, 175, 1000])
def test_exactly_the_budget_is_seen(examples):
    formed = plan(examples)
    assert sum(map(len, formed)) == examples
    assert all(1 <= len(batch) <= 4 for batch in formed)
    assert len(formed) == -(-examples // 4)  # full batches but for the last formed


@pytest.mark.parametrize("examples", [50, 175, 1000])
def test_every_item_once_an_epoch(examples):
    seen = Counter(pair for batch in plan(examples) for pair in batch)
    assert set(seen.values()) == {1}
    for epoch in range(examples // 50):
        assert {item for item, e in seen if e == epoch} == set(range(50))


def test_interleaving_mixes_evenly_and_keeps_each_order():
    sequences = [[("a", i) for i in range(300)], [("b", i) for i in range(100)], []]
    mixed = interleave(sequences, np.random.default_rng(0))
    assert [[x for x in mixed if x[0] == name] for name in "ab"] == sequences[:2] and len(mixed) == 400
    share = sum(name == "b" for name, _ in mixed[:200]) / 200
    assert share == pytest.approx(0.25, abs=0.08)
    assert interleave(sequences, np.random.default_rng(0)) == mixed
    assert interleave(sequences, np.random.default_rng(1)) != mixed


def test_same_seed_same_order_and_another_seed_another():
    assert plan(200) == plan(200)
    assert plan(200) != plan(200, seed=1)


def test_every_epoch_is_in_an_order_of_its_own():
    """Before batches are formed, so that their own shuffle cannot stand in for it."""
    items = [item for item, _ in order(50, 100, np.random.default_rng(0))]
    first, second = items[:50], items[50:]
    assert sorted(first) == sorted(second) == list(range(50))
    assert len({tuple(first), tuple(second), tuple(range(50))}) == 3


def test_the_batches_of_one_pool_are_shuffled():
    """The pairs come shuffled by themselves here: what is left is the order by length within the pool."""
    lengths = list(range(BUCKET * 4))
    pairs = [(item, 0) for item in lengths]
    formed = [[item for item, _ in batch] for batch in batches(pairs, lengths, 4, np.random.default_rng(0))]
    assert sorted(formed) == [lengths[i : i + 4] for i in range(0, len(lengths), 4)] != formed
    assert abs(np.corrcoef(np.arange(BUCKET), [batch[0] for batch in formed])[0, 1]) < 0.5


def test_epochs_are_shuffled_anew():
    """More items than are sorted together, as in a real corpus."""
    formed = [pair for batch in plan(800, lengths=LENGTHS * 8) for pair in batch]
    orders = [[item for item, e in formed if e == epoch] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]


def test_a_pair_has_a_length_of_its_own():
    """An item's question, and so its length, differs from epoch to epoch."""
    pairs = [(0, 0), (1, 0), (0, 1), (1, 1)]
    formed = batches(pairs, [9, 1, 2, 8], 2, np.random.default_rng(0))
    assert sorted(formed) == [[(1, 0), (0, 1)], [(1, 1), (0, 0)]] or sorted(map(sorted, formed)) == [
        [(0, 0), (1, 1)], [(0, 1), (1, 0)]
    ]  # fmt: skip


def test_items_of_like_length_share_a_batch():
    formed = plan(1000)

    def waste(groups) -> float:
        lengths = [[LENGTHS[i] for i, _ in group] for group in groups]
        return 1 - sum(map(sum, lengths)) / sum(max(g) * len(g) for g in lengths)

    shuffled = [pair for batch in formed for pair in batch]
    np.random.default_rng(0).shuffle(shuffled)
    assert waste(formed) < 0.1 < waste([shuffled[i : i + 4] for i in range(0, 1000, 4)])


def test_batches_do_not_come_sorted_by_length():
    means = [np.mean([LENGTHS[i] for i, _ in batch]) for batch in plan(1000)]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3


def test_learning_rate_rises_in_a_line_and_falls_in_half_a_cosine():
    rates = [learning_rate(step, 100, 0.5, 0.2) for step in range(100)]
    assert rates[:3] == pytest.approx([0.025, 0.05, 0.075])
    assert rates[19] == rates[20] == max(rates) == 0.5
    assert rates[60] == pytest.approx(0.25)
    assert all(a > b for a, b in pairwise(rates[20:]))
    assert 0 < rates[-1] < 0.001


def test_learning_rate_without_warmup_and_of_a_single_step():
    assert learning_rate(0, 10, 0.5, 0.0) == 0.5
    assert learning_rate(0, 1, 0.5, 0.0) == 0.5
    assert learning_rate(0, 1, 0.5, 0.9) == 0.5
