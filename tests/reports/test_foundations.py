"""What supervision changes of each foundation: names, paired differences, relative gains."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from speechllm_bench.reports import foundations
from speechllm_bench.schema import Interval

F1 = {"base_regular": 0.5, "base_hybrid_think": 0.6, "reasoning_0_regular": 0.2, "reasoning_0_reasoning": 0.3}


@pytest.fixture
def rows(monkeypatch):
    def interval(value):
        return Interval(value, value - 0.05, value + 0.05, 10, 4, 1)

    monkeypatch.setattr(
        foundations.tables, "main_metric", lambda rows, name: interval(F1[name]) if name in F1 else None
    )
    monkeypatch.setattr(foundations.tables, "gain", lambda rows, a, b: interval(F1[a] - F1[b]))
    names = [*F1, "instruct_reasoning", "no_audio"]
    return [{"variant": name, "record": {"llm_parameters": 10 * len(name)}} for name in names]


def test_changes_are_to_regular_supervision_of_the_same_foundation(rows):
    frame = foundations.changes(rows)
    assert list(zip(frame["foundation"], frame["supervision"], strict=True)) == [
        ("base", "regular"),
        ("base", "hybrid_think"),
        ("reasoning_0", "regular"),
        ("reasoning_0", "reasoning"),
    ]
    assert frame["change"].isna().tolist() == [True, False, True, False]
    assert frame["change"].dropna().tolist() == pytest.approx([0.1, 0.1])
    assert frame["relative_change"].dropna().tolist() == pytest.approx([0.2, 0.5])
    shown = foundations.display(frame).to_dict("records")
    assert shown[0]["Change"] == "–" and shown[0]["Relative"] == "–"
    assert shown[3]["Change"] == "+0.100 [+0.050, +0.150]" and shown[3]["Relative"] == "+50.0 %"
    assert shown[3]["Foundation"] == "reasoning 0" and shown[1]["Supervision"] == "hybrid, thinking"


def test_a_foundation_without_regular_supervision_has_nothing_to_change(rows, monkeypatch):
    monkeypatch.setitem(F1, "instruct_reasoning", 0.4)
    frame = foundations.changes(rows)
    last = frame[frame["foundation"] == "instruct"].iloc[0]
    assert last["f1"] == 0.4 and last[["change", "relative_change"]].isna().all()


def test_figures_draw_a_bar_or_a_point_for_each(rows):
    types, scale = foundations.types_figure(rows), foundations.scale_figure(rows)
    assert len(types.axes[0].patches) == 4
    assert [t.get_text() for t in types.axes[0].get_xticklabels()] == ["base", "reasoning 0"]
    assert scale.axes[0].get_xlabel() == "parameters of the LLM"
    plt.close("all")
    assert foundations.types_figure([]) is None and foundations.scale_figure([]) is None
