"""How soon trainings reach the F1 with which the baseline ends."""

from __future__ import annotations

import pandas as pd
import pytest

from speechllm_bench.planning import studies
from speechllm_bench.reports import cells, floors, progress

STUDY, _ = studies.load("multistage", "mini")


def curve(variant: str, seed: int, *f1: tuple[str, int, float]) -> pd.DataFrame:
    frame = pd.DataFrame(f1, columns=["stage", "examples", "value"])
    return frame.assign(variant=variant, seed=seed, split="validation", metric="f1", step=frame["examples"])


@pytest.fixture
def curves():
    """The single stage ends at 0.3, then 0.4; C is there sooner in its last stage, later in all."""
    single = [("slots", 100, 0.1), ("slots", 200, 0.2)]
    staged = [("transcription", 200, 0.0), ("slots", 300, 0.35), ("slots", 400, 0.45)]
    return pd.concat(
        [
            curve("single", 0, *single, ("slots", 300, 0.3)),
            curve("single", 1, *single, ("slots", 300, 0.4)),
            curve("multistage_c", 0, *staged),
            curve("multistage_c", 1, *staged),
        ]
    )


def test_examples_are_counted_in_the_last_stage_and_in_all(curves, monkeypatch):
    monkeypatch.setattr(floors, "above", lambda rows, variant: True)
    assert progress.reached(curves, "multistage_c", "single") == {0: (100, 300), 1: (200, 400)}
    last, whole = progress.convergence(STUDY, [], curves).to_dict("records")
    assert (last["counted"], last["examples"], last["examples of the baseline"]) == (
        "last stage",
        "150",
        "300",
    )
    assert (last["sooner"], last["verdict"]) == ("2 of 2 seeds", "weak support")
    assert (whole["counted"], whole["examples"]) == ("all stages", "350")
    assert (whole["sooner"], whole["verdict"]) == ("0 of 2 seeds", "inconclusive")  # 300 and 300 on seed 0


def test_other_metrics_and_splits_do_not_count(curves):
    loss, train = curves.assign(metric="loss", value=9.0), curves.assign(split="train", value=9.0)
    mixed = pd.concat([loss, train, curves])
    of = progress.reached
    assert of(mixed, "multistage_c", "single") == of(curves, "multistage_c", "single")


def test_a_level_reached_before_the_last_stage_needs_none_of_its_examples():
    both = pd.concat(
        [curve("single", 0, ("slots", 100, 0.2)), curve("c", 0, ("early", 50, 0.3), ("slots", 90, 0.1))]
    )
    assert progress.reached(both, "c", "single") == {0: (0, 50)}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([(1, 2), (1, 2)], "weak support"),
        ([(1, 2)], "inconclusive"),
        ([(progress.NEVER, 2), (3, 2)], "weak contradiction"),
        ([(progress.NEVER, 2)], "inconclusive"),
        ([(1, 2), (3, 2)], "inconclusive"),
        ([(2, 2)], "inconclusive"),
    ],
)
def test_a_verdict_is_weak_and_needs_the_same_answer_on_several_seeds(pairs, said):
    assert progress.convergence_verdict(pairs) == said


def test_stages_that_see_as_much_as_the_whole_baseline_before_cannot_be_sooner(monkeypatch):
    monkeypatch.setattr(floors, "above", lambda rows, variant: True)
    single = [curve("single", seed, ("slots", 200, 0.3)) for seed in (0, 1)]
    staged = [curve("multistage_c", s, ("transcription", 200, 0.0), ("slots", 300, 0.5)) for s in (0, 1)]
    last, whole = progress.convergence(STUDY, [], pd.concat(single + staged))["verdict"]
    assert (last, whole) == ("weak support", "not testable here")


def test_below_the_floor_nothing_is_judged_and_a_cell_keeps_the_verdict(curves, monkeypatch):
    monkeypatch.setattr(floors, "above", lambda rows, variant: False)
    table = progress.convergence(STUDY, [], curves)
    assert set(table["verdict"]) == {"not testable here: below the floor"}
    last, _ = cells.of_further(STUDY, [], "convergence", table)
    assert last.key == "multistage/convergence:multistage_c:last_stage/A"
    assert last.cells["verdict"].shown.endswith("below the floor") and last.cells["examples"].value == 150


def test_without_a_baseline_there_is_no_table(curves):
    assert progress.convergence(STUDY, [], curves[curves["variant"] != "single"]).empty
