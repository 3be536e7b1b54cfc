import numpy as np
import pytest
from scipy import stats as scipy_stats

from speechllm_bench import stats
from speechllm_bench.errors import UserError
from speechllm_bench.metrics import f1
from speechllm_bench.storage.schema import Interval


def mean(sums):
    return sums[..., 0] / sums[..., 1]


def counted(values, speakers=None):
    """Items of a value each; every item its own speaker unless told otherwise."""
    values = np.asarray(values, float)
    counts = np.stack([values, np.ones_like(values)], axis=-1)
    ids = [f"item-{i}" for i in range(values.shape[-1])]
    return stats.sum_by_speaker(ids, ids if speakers is None else speakers, counts)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_constant_items_have_a_point_for_an_interval():
    assert stats.bootstrap(counted([2.0] * 5), mean, rng()) == Interval(2, 2, 2, 5, 5, 1)


def test_one_speaker_has_no_width_and_never_differs():
    found = stats.bootstrap(counted([0.0, 1.0], ["a", "a"]), mean, rng())
    assert (found.low, found.value, found.high, found.n_speakers) == (0.5, 0.5, 0.5, 1)
    tested = stats.contrast([counted([0.0, 1.0], ["a", "a"])], [1], mean, rng())
    assert (tested.low, tested.value, tested.high, tested.p) == (0.5, 0.5, 0.5, 1)
    assert not stats.differ(tested, 0.0) and not stats.alike(tested)


def test_agrees_with_scipy_where_every_item_is_its_own_speaker():
    values = rng(1).gamma(2, 1, 60)
    ours = stats.bootstrap(counted(values), mean, rng(2))
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=rng(3)
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.02)


def test_f1_agrees_with_resampling_whole_speakers_one_by_one():
    counts = rng(4).integers(0, 4, (40, 3)).astype(float)
    counts[:, 0] = counts.min(axis=1)
    speakers = np.repeat(np.arange(10), 4)
    ours = stats.bootstrap(stats.sum_by_speaker([str(i) for i in range(40)], speakers, counts), f1, rng(5))
    draw, slow = rng(6), []
    for _ in range(4000):
        chosen = draw.integers(0, 10, 10)
        slow.append(f1(np.concatenate([counts[speakers == s] for s in chosen]).sum(axis=0)))
    assert [ours.low, ours.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.01)


def test_same_seed_same_interval():
    values = counted(rng(7).random(30))
    assert stats.bootstrap(values, mean, rng(1)) == stats.bootstrap(values, mean, rng(1))
    assert stats.bootstrap(values, mean, rng(1)) != stats.bootstrap(values, mean, rng(2))


def test_draws_are_remembered_by_the_state_that_they_start_from(monkeypatch):
    """A second score of a test set draws nothing, and both go on as if they had drawn themselves."""
    kept, alone = np.random.default_rng(3), np.random.default_rng(3)
    first = [stats._times(7, 50, kept), stats._times(5, 50, kept)]
    own = [alone.multinomial(n, np.full(n, 1 / n), size=50) for n in (7, 5)]
    assert all(np.array_equal(a, b) for a, b in zip(first, own, strict=True))
    again = np.random.default_rng(3)
    monkeypatch.setattr(np.random, "Generator", lambda *_: pytest.fail("drawn again"))
    assert all(np.array_equal(stats._times(n, 50, again), a) for n, a in zip((7, 5), first, strict=True))
    assert kept.random() == alone.random() == again.random()


def test_order_of_items_does_not_matter():
    values, speakers = rng(8).random(20), [f"s{i % 6}" for i in range(20)]
    ids = [f"item-{i}" for i in range(20)]
    counts = np.stack([values, np.ones(20)], axis=-1)
    forward = stats.sum_by_speaker(ids, speakers, counts)
    backward = stats.sum_by_speaker(ids[::-1], speakers[::-1], counts[::-1])
    a, b = stats.bootstrap(forward, mean, rng()), stats.bootstrap(backward, mean, rng())
    assert [a.value, a.low, a.high] == pytest.approx([b.value, b.low, b.high], abs=1e-12)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """40 speakers of 5 alike items: drawing items instead of speakers would cover far too seldom."""
    draw, hits = rng(9), 0
    for _ in range(200):
        values = np.repeat(draw.normal(0, 1, 40), 5) + draw.normal(0, 0.3, 200)
        found = stats.bootstrap(counted(values, np.repeat(np.arange(40), 5)), mean, draw, n_boot=500)
        hits += found.low <= 0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_seeds_are_averaged_and_widen_the_interval():
    values = rng(10).random(50)
    apart = counted([values, values + 0.5, values - 0.5])
    alike = counted([values, values, values])
    assert stats.bootstrap(apart, mean, rng()).value == pytest.approx(values.mean())
    wide, narrow = (stats.bootstrap(c, mean, rng()) for c in (apart, alike))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide.n_seeds == 3


def test_paired_difference_is_narrower_than_the_two_alone():
    values = rng(11).normal(0, 1, 50)
    found = stats.contrast([counted(values + 0.1), counted(values)], [1, -1], mean, rng())
    assert [found.low, found.value, found.high] == pytest.approx([0.1] * 3)
    assert found.p == 2 / 10_001 and stats.differ(found, found.p)


def test_of_equal_systems_nothing_differs():
    values = counted(rng(12).random(20))
    found = stats.contrast([values, values], [1, -1], mean, rng())
    assert (found.low, found.value, found.high, found.p) == (0, 0, 0, 1)
    assert not stats.differ(found, found.p) and stats.alike(found)


@pytest.mark.parametrize(
    ("low", "value", "high", "p", "differs", "alike"),
    [
        (0.01, 0.06, 0.1, 0.01, True, False),
        (-0.1, -0.05, -0.01, 0.049, True, False),
        (0.01, 0.06, 0.1, 0.05, False, False),  # does not survive Holm
        (0.01, 0.04, 0.1, 0.01, False, False),  # sure and too small
        (-0.01, 0.2, 0.4, 0.06, False, False),  # large and unsure
        (-0.04, 0.0, 0.049, 0.9, False, True),
        (0.01, 0.03, 0.05, 0.01, False, False),  # the interval reaches the margin
        (-0.049, -0.03, -0.01, 0.01, False, True),  # sure, and too small to matter
    ],
)
def test_rule_13(low, value, high, p, differs, alike):
    found = Interval(value, low, high, 100, 30, 3)
    assert (stats.differ(found, p), stats.alike(found)) == (differs, alike)


def test_holm_agrees_with_the_procedure_by_hand():
    assert stats.holm([]) == []
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.5]) == [1.0, 1.0]


def test_p_is_that_of_a_t_test_where_every_item_is_its_own_speaker():
    values = rng(14).normal(0.4, 1, 30)
    found = stats.contrast([counted(values)], [1], mean, rng(), n_boot=40_000)
    theirs = scipy_stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(theirs.pvalue, abs=0.01)
    interval = theirs.confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high], abs=0.04)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / 30**0.5, rel=0.02)
    assert stats.smallest_shown(0.01) == pytest.approx(0.028, abs=1e-4)


def test_one_seed_takes_the_pooled_variance_and_several_moderate_it():
    alike = counted(np.ones(40))  # speakers that do not spread at all
    variance = 0.01
    one = stats.contrast([alike], [1], mean, rng(), variance, n_boot=100_000)
    width = scipy_stats.t.ppf(0.975, stats.POOLED_DF) * (variance / 2) ** 0.5
    assert one.high - one.value == pytest.approx(width, rel=0.03) and one.standard_error == 0
    assert stats.contrast([alike], [1], mean, rng()).high == 1  # none known: speakers alone
    assert stats.contrast([alike], [1], mean, rng(), 0).high == 1  # nothing was trained
    several = stats.stack_seeds([alike] * 3)
    three = stats.contrast([several], [1], mean, rng(), variance, n_boot=100_000)
    scale = (2 * variance / 6 / 3) ** 0.5  # half the pooled variance on 4 degrees of freedom, and 2 of 0
    assert three.high - 1 == pytest.approx(scipy_stats.t.ppf(0.975, 6) * scale, rel=0.03)
    own = stats.stack_seeds([counted(np.full(40, v)) for v in (0.9, 1.0, 1.1)])
    alone = stats.contrast([own], [1], mean, rng(), n_boot=100_000)
    assert alone.high - 1 == pytest.approx(scipy_stats.t.ppf(0.975, 2) * 0.1 / 3**0.5, rel=0.03)


def test_few_speakers_and_one_seed_are_covered_as_often_as_they_say():
    """12 speakers, one seed of a spread as large as theirs: the plain bootstrap covers about 0.8."""
    draw, hits = rng(15), np.zeros(2)
    for _ in range(400):
        values = draw.normal(0, 1, 12) + draw.normal(0, 12**-0.5)
        now = stats.contrast([counted(values)], [1], mean, draw, 1 / 12, n_boot=400)
        before = stats.bootstrap(counted(values), mean, draw, n_boot=400)
        hits += [found.low <= 0 <= found.high for found in (before, now)]
    assert hits[0] / 400 < 0.87 and 0.93 <= hits[1] / 400 <= 0.985


@pytest.mark.parametrize(
    ("values", "t"), [([-5, -3, -1, 1, 3, 5], 2.571), ([-4, -3, -2, -1, 1, 2, 3, 4], 2.365)]
)
def test_over_few_speakers_an_interval_is_as_wide_as_that_of_students_t(values, t):
    """Of a normal distribution it would be 1.96 standard errors to each side."""
    found = stats.contrast([counted(values)], [1], mean, rng(), 0.0)
    assert (found.high - found.low) / 2 / found.standard_error == pytest.approx(t, rel=0.03)


def test_a_contrast_of_four_systems_is_the_difference_of_two_differences():
    values = [rng(20 + i).random((2, 30)) for i in range(4)]
    a, b, c, d = (counted(v) for v in values)
    found = stats.contrast([a, b, c, d], [1, -1, -1, 1], mean, rng())
    expected = values[0].mean() - values[1].mean() - (values[2].mean() - values[3].mean())
    assert found.value == pytest.approx(expected) and found.low < expected < found.high
    same = stats.contrast([a, b, a, b], [1, -1, -1, 1], mean, rng())
    assert (same.low, same.value, same.high) == (0, 0, 0)


def test_unlike_systems_are_refused():
    a = counted([1.0, 2.0, 3.0])
    with pytest.raises(UserError, match="different items"):
        stats.contrast([a, counted([1.0, 2.0])], [1, -1], mean, rng())
    with pytest.raises(UserError, match="different items"):
        stats.stack_seeds([a, counted([1.0, 2.0])])
    with pytest.raises(UserError, match="2 seeds with 1"):
        stats.contrast([stats.stack_seeds([a, a]), a], [1, -1], mean, rng())


def test_several_test_sets_are_drawn_apart_and_one_together():
    """The sum of two means: of the same speakers' items, and of as many other speakers'."""
    a, b = (counted(rng(30 + i).random(40)) for i in range(2))

    def both(sums):
        return sums[..., 0] / sums[..., 1] + sums[..., 2] / sums[..., 3]

    apart = stats.contrast_of_test_sets([[a, b]], [1], both, rng())
    together = stats.bootstrap(stats.side_by_side([a, a]), both, rng())
    assert apart.value == pytest.approx(
        stats.bootstrap(a, mean, rng()).value + stats.bootstrap(b, mean, rng()).value
    )
    widths = [found.high - found.low for found in (apart, together, stats.bootstrap(a, mean, rng()))]
    assert widths[1] == pytest.approx(2 * widths[2]) and 1.2 * widths[2] < widths[0] < 1.7 * widths[2]
    assert (apart.n, apart.n_speakers) == (80, 80)


def test_no_items_and_items_counted_twice_are_refused():
    with pytest.raises(UserError, match="no predictions"):
        stats.sum_by_speaker([], [], np.zeros((0, 3)))
    with pytest.raises(UserError, match="item 'a' was predicted twice"):
        stats.sum_by_speaker(["a", "b", "a"], ["s", "s", "s"], np.zeros((3, 2)))


def test_ten_thousand_draws_are_few_calls_of_the_statistic():
    """All draws at once, as arrays: a call a draw would take a second and more."""
    sizes = []

    def counting(sums):
        sizes.append(np.shape(sums)[:-1])
        return mean(sums)

    stats.bootstrap(counted(rng(13).random(1000), np.arange(1000) % 40), counting, rng())
    assert len(sizes) < 100 and sum(int(np.prod(size)) for size in sizes) >= 10_000
