"""What supervision changes of each foundation: names, paired differences, relative gains."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from speechllm_bench.evaluation import score
from speechllm_bench.planning import studies
from speechllm_bench.reports import cells, looks, traces
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import slots

STUDY = studies.load("foundation_type", "mini")[0]
RIGHT = {"base_regular": 5, "base_hybrid_think": 6, "reasoning_0_regular": 2, "reasoning_0_reasoning": 3}


AXES = {name: STUDY.place(name).axes for name in STUDY.variants}
AXES |= {f"nano_{how}": {"llm": "nano", "supervision": how} for how in ("regular", "reasoning")}


def row(variant: str, right: int | None, seed: int = 0) -> dict:
    """A system that fills `right` of ten turns' one slot, and the others wrong."""
    said = [
        Prediction(
            f"e{i}", f"u{i}", f"s{i}", "slots", slots.target({"city": city}), '{"city": "rome"}', (), 1, ""
        )
        for i, city in enumerate(["rome"] * (right or 0) + ["oslo"] * (10 - (right or 0)))
    ]
    scored = None if right is None else score.score_task("slots", said)
    return {
        "variant": variant,
        "axes": AXES[variant],
        "seed": seed,
        "record": {"llm_parameters": 10 * len(variant)},
        "score": scored,
    }


@pytest.fixture
def rows():
    return [*(row(name, n) for name, n in RIGHT.items()), row("instruct_reasoning", None), row("no_audio", 1)]


def test_changes_are_to_regular_supervision_of_the_same_foundation(rows):
    frame = traces.changes(rows)
    assert list(zip(frame["foundation"], frame["supervision"], strict=True)) == [
        ("base", "regular"),
        ("base", "hybrid_think"),
        ("reasoning_0", "regular"),
        ("reasoning_0", "reasoning"),
    ]
    assert frame["change"].isna().tolist() == [True, False, True, False]
    assert [one.value for one in frame["change"].dropna()] == pytest.approx([0.1, 0.1])
    assert [one.value for one in frame["relative"].dropna()] == pytest.approx([0.2, 0.5])
    shown = traces.changes_table(STUDY, rows).to_dict("records")
    assert shown[0]["Change"] == "–" and shown[0]["Relative"] == "–"
    assert shown[3]["Change"].startswith("+0.100 [") and shown[3]["Relative"].startswith("+0.500 [")
    assert shown[3]["Foundation"] == "reasoning 0" and shown[1]["Supervision"] == "hybrid, thinking"


def test_ids_have_keys_and_outlive_another_label(rows, monkeypatch):
    def ids() -> list[str]:
        return [
            line.key for line in cells.of_further(STUDY, [], "changes", traces.changes_table(STUDY, rows))
        ]

    before = ids()
    assert before[1] == "foundation_type/changes:base:hybrid_think/all"
    monkeypatch.setattr(looks.axes, "label", lambda key, value=None: f"reworded {key}")
    assert ids() == before


def test_a_change_is_over_the_seeds_that_both_have(rows):
    found = traces.changes([*rows, row("base_regular", 10, seed=1)]).set_index(["foundation", "supervision"])
    assert found.loc[("base", "regular"), "f1"] == pytest.approx(0.75)
    changed = found.loc[("base", "hybrid_think")]
    assert (changed["change"].value, changed["relative"].value) == pytest.approx((0.1, 0.2))


def test_a_foundation_without_regular_supervision_has_nothing_to_change(rows):
    frame = traces.changes([*rows, row("instruct_reasoning", 4)])
    last = frame[frame["foundation"] == "instruct"].iloc[0]
    assert last["f1"] == pytest.approx(0.4) and last[["change", "relative"]].isna().all()


def test_nothing_is_relative_to_next_to_nothing(rows):
    frame = traces.changes([row("nano_regular", 0), row("nano_reasoning", 3)])
    assert frame["change"][1].value == pytest.approx(0.3) and pd.isna(frame["relative"][1])


def test_figures_draw_a_bar_or_a_point_for_each(rows):
    types, scale = traces.types_figure(STUDY, rows), traces.scale_figure(STUDY, rows)
    assert len(types.axes[0].patches) == 4
    assert [t.get_text() for t in types.axes[0].get_xticklabels()] == ["base", "reasoning 0"]
    assert scale.axes[0].get_xlabel().startswith("parameters of the LLM\n")
    plt.close("all")
    assert traces.types_figure(STUDY, []) is None and traces.scale_figure(STUDY, []) is None
