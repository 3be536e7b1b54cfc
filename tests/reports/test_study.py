"""What a study's report reads off its curves."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from speechllm_bench.reports import claims, figures, progress
from speechllm_bench.settings.experiments import Study
from speechllm_bench.settings.reported import ClaimConfig
from speechllm_bench.storage.schema import CURVE_COLUMNS


@pytest.fixture
def curve():
    """Two variants, two seeds; `late` reaches 0.4 with one seed alone."""
    lines = [
        ("early", 0, 100, 0.2), ("early", 0, 200, 0.5), ("early", 0, 300, 0.4),
        ("early", 1, 100, 0.4), ("early", 1, 200, 0.3), ("early", 1, 300, 0.6),
        ("late", 0, 100, 0.0), ("late", 0, 200, 0.1), ("late", 0, 300, 0.3),
        ("late", 1, 100, 0.1), ("late", 1, 200, 0.2), ("late", 1, 300, 0.4),
    ]  # fmt: skip
    frame = pd.DataFrame(lines, columns=["variant", "seed", "examples", "value"])
    return frame.assign(stage="slots", step=frame["examples"], split="validation", metric="f1")


def test_examples_to_reach_takes_the_first_point_at_the_level(curve):
    found = progress.examples_to_reach(curve, 0.4)
    assert list(found.index) == ["early", "late"]
    assert found.loc["early"].tolist() == [200, 100]
    assert math.isnan(found.loc["late", 0]) and found.loc["late", 1] == 300


def test_other_metrics_and_splits_do_not_count(curve):
    loss = curve.assign(metric="loss", value=9.0)
    train = curve.assign(split="train", value=9.0)
    mixed = pd.concat([loss, train, curve])
    reached = progress.examples_to_reach
    pd.testing.assert_frame_equal(reached(mixed, 0.4), reached(curve, 0.4))


def test_last_f1_is_the_mean_over_seeds_of_the_last_point(curve):
    assert progress.last_f1(curve, "early") == pytest.approx(0.5)
    assert math.isnan(progress.last_f1(curve, "neither"))


def run(variant: str, seed: int, status: str) -> dict:
    """A run without a score; without a record where it was not run."""
    record = None if status == "NOT RUN" else {"status": status}
    return {
        "variant": variant,
        "seed": seed,
        "status": status,
        "record": record,
        "score": None,
        "profile": "mini",
    }


def judged(rows: list[dict], **claim) -> pd.Series:
    entry = ClaimConfig(claim="Half the rate tames it.", source="ours", better="half", worse="full", **claim)
    found = claims.verdicts(SimpleNamespace(claims=[entry]), rows)
    assert len(claims.show_verdicts(found)) == 1
    return found.iloc[0]


def test_divergence_is_judged_and_told_and_no_survivor_is():
    rows = [run("half", s, "ok") for s in range(3)]
    rows += [run("full", s, status) for s, status in enumerate(("diverged", "ok", "diverged"))]
    found = judged(rows)
    assert (found["verdict"], found["diverged"]) == ("agrees", "full diverged on 2")
    assert pd.isna(found["difference"])
    assert claims.show_verdicts(pd.DataFrame([found]))["difference"].item() == "full diverged on 2"
    assert judged(rows, beyond=["half", "full"])["verdict"] == "inconclusive"
    assert judged(rows, scale="8 B")["verdict"] == "not testable here"


def test_divergence_beside_a_variant_that_was_not_run_is_no_verdict():
    rows = [run("half", 0, "NOT RUN"), run("full", 0, "diverged"), run("full", 1, "diverged")]
    assert (judged(rows)["verdict"], judged(rows)["diverged"]) == ("not run", "")


def test_of_too_many_curves_the_telling_ones_are_drawn(tmp_path, curve):
    one = curve[(curve["variant"] == "early") & (curve["seed"] == 0)]
    rows = []
    for i in range(figures.MOST_LINES + 1):
        folder = tmp_path / str(i)
        folder.mkdir()
        one[list(CURVE_COLUMNS)].to_csv(folder / "curve.csv", index=False)
        training = SimpleNamespace(folder=folder, stages=(str(i),))
        rows.append(run(f"v{i}", 0, "ok") | {"run": training})
    about = dict.fromkeys(("study", "title", "paper", "question"), "of_many") | {"baseline": "v0", "base": {}}
    about |= {"telling": ["v2", "v12"], "extremes": ["v0", "v1"], "reported": [], "claims": []}
    chosen = Study(**about, variants={f"v{i}": {} for i in range(13)})

    def drawn(some: list[dict]) -> list[list[str]]:
        panels = progress.curves_figure(chosen, some).axes
        named = [[line.get_label() for line in ax.lines if line.get_label()[0] != "_"] for ax in panels]
        return list(map(list, dict.fromkeys(map(tuple, named))))

    names = [f"v{i}" for i in range(figures.MOST_LINES)]
    assert drawn(rows[:-1]) == [names[:6], names[6:]]  # a row of panels for each six
    assert drawn(rows[:6]) == [names[:6]] and drawn(rows[:7]) == [names[:4], names[4:7]]
    assert drawn(rows) == [["v2", "v12"]]
    assert progress.curves_figure(chosen, []) is None
