"""Shares of F1 that systems lose on other test sets."""

from __future__ import annotations

import numpy as np
import pytest
from scored_answers import scored

from speechllm_bench import stats
from speechllm_bench.planning import studies
from speechllm_bench.reports import cells, effects, floors
from speechllm_bench.reports.effects import lost

STUDY, _ = studies.load("baselines", "mini")
RIGHT = {"cascade": 16, "cascade_b_id": 12, "cascade_b_ood": 4, "gold": 18, "gold_b_ood": None, "no_audio": 3}


def row(variant: str, right: int | None, seed: int = 0) -> dict:
    """A result with the first `right` of 20 answers correct. None: it was not run."""
    found = None if right is None else scored(right)
    axes = STUDY.place(variant).axes
    return {"variant": variant, "axes": axes, "seed": seed, "score": found, "record": None}


def test_a_system_loses_a_share_of_its_f1_on_other_sets():
    table = effects.losses([row(*one) for one in RIGHT.items()]).set_index("system")
    assert list(table.index) == ["cascade", "gold"]  # the row that hears other audio has no other test set
    assert table.loc["cascade", "F1 on A"].startswith("0.800 [")
    assert table.loc["cascade", "lost on B-ID"].startswith("0.250 [")
    assert table.loc["cascade", "lost on B-OOD"].startswith("0.750 [")
    assert table.loc["gold", "lost on B-OOD"] == "–"
    assert list(table["above floors"]) == ["–", "–"]


def test_the_interval_draws_a_speaker_on_both_test_sets_together():
    found = lost([row("cascade", 16), row("cascade_b_ood", 4)], "cascade", "cascade_b_ood")
    # Of each speaker's 2 answers 2 or 1 are right on A, and 1 or 0 on B-OOD. The error of a ratio of means,
    # at first order, is that of the residuals from it.
    home, away = np.array([2.0] * 6 + [1.0] * 4), np.array([1.0] * 4 + [0.0] * 6)
    residuals = away - 0.25 * home
    error = np.std(residuals, ddof=1) / np.sqrt(10) / home.mean()
    assert found.value == pytest.approx(0.75)
    assert found.standard_error == pytest.approx(error, rel=0.05)
    assert found.low < 0.75 - error < 0.75 + error < found.high <= 1


def test_a_speaker_of_one_test_set_alone_counts_in_it_alone():
    first = stats.SpeakerSums(2, "a", ("ann", "bob"), np.ones((1, 2, 3)))
    second = stats.SpeakerSums(2, "b", ("bob", "cy"), 2 * np.ones((1, 2, 3)))
    joined = stats.side_by_side([first, second])
    assert joined.speakers == ("ann", "bob", "cy")
    assert joined.sums[0].tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 1, 2, 2, 2], [0, 0, 0, 2, 2, 2]]


def test_a_share_of_almost_nothing_and_seeds_that_are_not_shared_have_no_share():
    assert lost([row("cascade", 0), row("cascade_b_ood", 4)], "cascade", "cascade_b_ood") is None
    assert lost([row("cascade", 9), row("cascade_b_ood", 4, 1)], "cascade", "cascade_b_ood") is None


@pytest.mark.parametrize(
    ("home", "away", "said"),
    [(True, True, "yes"), (True, False, "no"), (False, None, "no"), (True, None, "–")],
)
def test_a_row_says_whether_it_clears_the_floors_of_both_sets(monkeypatch, home, away, said):
    known = {"cascade": home, "cascade_b_ood": away}
    monkeypatch.setattr(floors, "above", lambda rows, variant: known[variant])
    (shown,) = effects.losses([row("cascade", 16), row("cascade_b_ood", 4)])["above floors"]
    assert shown == said


def test_a_row_rests_on_the_runs_of_all_its_test_sets():
    rows = [row("cascade", 16), row("cascade_b_ood", 4, 0)]
    for one in rows:
        one["record"] = {"device_kind": "cpu", "environment": {"commit": one["variant"]}}
        one["run"] = None
    (found,) = cells.of_further(STUDY, rows, "losses", effects.losses(rows))
    assert found.key == "baselines/losses:cascade/A"
    assert found.commits == ("cascade", "cascade_b_ood")
    cell = found.cells["lost_on_b-ood"]
    assert cell.value == 0.75 and cell.low < 0.75 < cell.high
