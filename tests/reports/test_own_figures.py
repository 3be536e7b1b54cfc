"""What three studies show beside the common table: gradients, families of adapters, losses on other sets."""

from __future__ import annotations

import math
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from scored_answers import scored

from speechllm_bench.evaluation import score
from speechllm_bench.planning import studies
from speechllm_bench.reports import effects, progress, sizes


def curve(variant: str, seed: int, values: dict[tuple[str, str], list[float]]) -> pd.DataFrame:
    """values: (split, metric) -> one value at each of the points, 10 steps apart."""
    lines = [
        ("slots", 10 * (i + 1), 80 * (i + 1), split, metric, value, variant, seed)
        for (split, metric), series in values.items()
        for i, value in enumerate(series)
    ]
    columns = ["stage", "step", "examples", "split", "metric", "value", "variant", "seed"]
    return pd.DataFrame(lines, columns=columns)


@pytest.fixture
def wild():
    """One variant whose second seed diverged after spikes, one that was never run."""
    smooth = {("train", "gradient_norm_max"): [2.0, 3.0], ("train", "gradient_spikes"): [0.0, 1.0]}
    spiky = {("train", "gradient_norm_max"): [9.0, 70.0], ("train", "gradient_spikes"): [4.0, 5.0]}
    loss = {("train", "loss"): [3.0, 2.0]}
    rows = [
        {"variant": "full_20", "seed": 0, "status": "ok", "record": {"status": "ok"}},
        {"variant": "full_20", "seed": 1, "status": "diverged", "record": {"status": "diverged"}},
        {"variant": "half_20", "seed": 0, "status": "NOT RUN", "record": None},
        {"variant": "no_audio", "seed": 0, "status": "ok", "record": {"status": "ok"}},  # shares its training
    ]
    return rows, pd.concat([curve("full_20", 0, smooth | loss), curve("full_20", 1, spiky | loss)])


def test_spikes_norms_and_divergence_are_counted(wild):
    table = progress.gradients(*wild).set_index("variant")
    full, half = table.loc["full_20"], table.loc["half_20"]
    assert (full["seeds run"], full["diverged"], full["largest gradient norm"]) == (2, 1, 70.0)
    assert full["spikes a seed"] == 5.0 and full["steps a seed"] == 20
    assert half["seeds run"] == 0 and math.isnan(half["spikes a seed"])
    assert table.loc["no_audio", "seeds run"] == 1 and math.isnan(table.loc["no_audio", "spikes a seed"])


def test_gradients_are_drawn_on_a_log_scale_and_nothing_without_a_curve(wild):
    study, curves = studies.load("stability", "mini")[0], wild[1]
    figure = progress.gradients_figure(study, curves)
    assert figure.axes[0].get_yscale() == "log" and len(figure.axes[0].lines) > 0
    plt.close(figure)
    assert progress.gradients_figure(study, curves[:0]) is None


def family_row(variant: str, kind: str, size: int, right: int, share: float | None) -> dict:
    stage, adapter = SimpleNamespace(train_share=share), SimpleNamespace(kind=kind)
    evaluation = SimpleNamespace(answerer="model", audio="other" if variant == "no_audio" else "own")
    run = SimpleNamespace(config=SimpleNamespace(adapter=adapter, stages=[stage], evaluation=evaluation))
    record = {"adapter_parameters": size}
    return {"variant": variant, "seed": 0, "run": run, "record": record, "score": scored(right)}


def test_families_are_lines_of_growing_size_for_all_and_for_few_turns():
    rows = [
        family_row("mlp_large", "mlp", 3000, 16, None),
        family_row("mlp", "mlp", 1000, 12, None),
        family_row("mlp_large_few", "mlp", 3000, 4, 0.25),
        {"variant": "cnn", "seed": 0, "run": None, "record": None, "score": None},
        family_row("no_audio", "mlp", 1000, 1, None),  # no second MLP
        family_row("chance", "none", 0, 2, None),
    ]
    rows[-1]["run"].config.adapter = None
    values = {("train", "loss"): [2.0, 1.0], ("validation", "loss"): [2.0, 1.5]}
    curves = pd.concat([curve(row["variant"], 0, values) for row in rows[:3]])
    frame = sizes.families(rows, curves)
    assert frame["variant"].tolist() == ["mlp", "mlp_large", "mlp_large_few"]
    assert frame["few"].tolist() == [False, False, True]
    assert frame["gap"].tolist() == [0.5] * 3 and frame["f1"].tolist() == pytest.approx([0.6, 0.8, 0.2])
    of_table = score.interval([rows[1]["score"]], "f1")  # wider than the stored interval, which has no seeds
    assert frame.loc[1, ["low", "high"]].tolist() == [of_table.low, of_table.high]
    assert of_table.high > rows[1]["score"]["metrics"]["f1"]["high"]
    study = studies.load("adapter_sweep", "mini")[0]
    figure = sizes.families_figure(study, rows, curves)
    assert figure.axes[0].get_xscale() == "log"
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["many turns", "many turns", "few turns", "few turns"]
    assert [len(line.get_xdata()) for ax in figure.axes[1::2] for line in ax.lines] == [2, 1]
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim()
    plt.close(figure)
    assert sizes.families_figure(study, rows[3:4], curves) is None


def test_systems_stand_side_by_side_on_each_test_set():
    right = {
        "cascade": 16,
        "cascade_b_id": 12,
        "cascade_b_ood": 4,
        "gold_b_ood": None,
        "gold": 18,
        "no_audio": 3,
    }
    study, _ = studies.load("baselines", "mini")
    rows = [
        {"variant": v, "axes": study.place(v).axes, "seed": 0, "score": None if n is None else scored(n)}
        for v, n in right.items()
    ]
    figure = effects.systems_figure(study, rows)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == list(effects.SHOWN)
    assert len(figure.axes[0].patches) == 4
    assert [text.get_text() for text in figure.axes[0].texts] == ["not in the study", "NOT RUN"]
    plt.close(figure)
    assert effects.systems_figure(study, rows[3:4]) is None
