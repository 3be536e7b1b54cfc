import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine

from speechllm_bench.commands import arguments
from speechllm_bench.planning import studies
from speechllm_bench.reports import figures, floors, looks, sizes, tables
from speechllm_bench.settings.experiments import Study


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def curves():
    rows = [
        (variant, seed, "slots", examples, "validation", metric, seed + examples / 1000)
        for variant in ("cnn", "mlp")
        for seed in (0, 1)
        for examples in (100, 200, 300)
        for metric in ("loss", "f1")
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "stage", "examples", "split", "metric", "value"])


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "variant": ["cnn", "mlp", "absent"],
            "trained_parameters": pd.array([30_000, 180_000, None], "Int64"),
            "f1": [0.3, 0.6, np.nan],
            "f1_low": [0.2, 0.5, np.nan],
            "f1_high": [0.4, 0.7, np.nan],
            "reported": [0.4, np.nan, 0.5],
        }
    )


@pytest.fixture(scope="module")
def own():
    return looks.of(studies.load("adapter_size", "mini")[0])


def labelled(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_mean_and_seed_lines(curves, own):
    _, (ax,) = figures.panels()
    figures.learning_curves(curves, ax, looks=own)
    assert list(labelled(ax)) == ["CNN", "MLP"]
    assert len(ax.lines) == 2 * (1 + 2)
    np.testing.assert_allclose(labelled(ax)["MLP"].get_ydata(), [0.6, 0.7, 0.8])
    assert "examples seen" in ax.get_xlabel() and "nats per target token" in ax.get_ylabel()


def test_one_seed_is_one_line(curves):
    _, (ax,) = figures.panels()
    figures.learning_curves(curves[curves["seed"] == 0], ax, metric="f1")
    assert len(ax.lines) == 2
    assert "F1" in ax.get_ylabel()


def test_mean_stops_where_a_seed_diverged(curves):
    broken = curves.drop(curves[(curves["seed"] == 1) & (curves["examples"] > 200)].index)
    _, (ax,) = figures.panels()
    figures.learning_curves(broken, ax)
    assert list(labelled(ax)["cnn"].get_xdata()) == [100, 200]


def apart(curves):
    """Return the curves with other values for each variant, so that none share a training."""
    return curves.assign(value=curves["value"] + 0.01 * (curves["variant"] == "mlp"))


def test_a_first_stage_that_all_variants_share_is_drawn_once_in_grey(curves):
    shared = curves.assign(stage="reading")
    later = apart(curves).assign(examples=curves["examples"] + 300)
    _, (ax,) = figures.panels()
    figures.learning_curves(pd.concat([shared, later]).query("seed == 0"), ax)
    drawn = [(list(line.get_xdata()), line.get_color()) for line in ax.lines if len(line.get_xdata()) == 3]
    assert [x for x, _ in drawn] == [[100, 200, 300], [400, 500, 600], [400, 500, 600]]
    assert drawn[0][1] == "0.35" and "0.35" not in {colour for _, colour in drawn[1:]}
    assert list(labelled(ax)) == ["cnn", "mlp"]


def test_a_line_stops_where_a_stage_ends(curves):
    curves = apart(curves)
    later = curves.assign(stage="later", examples=curves["examples"] + 300)
    _, (ax,) = figures.panels()
    figures.learning_curves(pd.concat([curves, later]).query("seed == 0"), ax)
    drawn = [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 3]
    assert drawn == [[100, 200, 300], [400, 500, 600]] * 2
    assert [text.get_text().strip() for text in ax.texts] == ["slots", "later"]
    assert list(ax.lines[-1].get_xdata()) == [300, 300]  # dotted, across the panel


def test_a_stage_begins_where_the_one_before_ends_even_if_that_lacks_the_metric(curves):
    between = curves.assign(stage="between", examples=curves["examples"] + 300).query("metric == 'loss'")
    last = curves.assign(stage="last", examples=curves["examples"] + 600)
    _, (ax,) = figures.panels()
    figures.learning_curves(pd.concat([curves, between, last]), ax, "f1")
    assert [text.get_text() for text in ax.texts] == ["slots", "last"]
    assert list(ax.lines[-1].get_xdata()) == [600, 600]


def test_first_stages_are_named_where_later_ones_follow(curves):
    other = curves.query("variant == 'cnn'").assign(variant="reader", stage="reading")
    later = curves.assign(stage="later", examples=curves["examples"] + 300)
    _, (one, both) = figures.panels(2)
    figures.learning_curves(curves, one)  # a single stage needs no name
    figures.learning_curves(pd.concat([curves, later, other]), both)
    assert not one.texts and [text.get_text() for text in both.texts] == ["slots / reading", "later"]


def test_a_late_stage_and_what_it_is_called_stay_inside_the_panel(curves):
    later = curves[curves["examples"] < 200].assign(examples=400)
    named = later.assign(stage=later["variant"] + "_2")  # variants that go on with different tasks
    _, (ax, other) = figures.panels(2)
    figures.learning_curves(pd.concat([curves, named]), ax, "f1")
    _, text = ax.texts
    assert (text.get_text().strip(), text.get_ha()) == ("cnn 2 / mlp 2 →", "right")
    assert ax.get_xlim()[1] > 400 and ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > curves["value"].max()
    figures.learning_curves(pd.concat([curves, later.assign(stage="more_slots")]), other, "f1")
    assert [text.get_text().strip() for text in other.texts] == ["slots", "more slots →"]


def test_an_empty_frame_is_an_empty_panel(curves):
    _, (ax,) = figures.panels()
    assert figures.learning_curves(curves.iloc[:0], ax) is ax
    assert not ax.lines


def test_points_and_log_axis_with_the_papers_figure_in_the_label(table, own):
    figure, (ax,) = figures.panels()
    sizes.metric_against_parameters(table, ax, own)
    figures.legend(figure)
    points = labelled(ax)
    assert {k: tuple(v.get_ydata()) for k, v in points.items()} == {
        "CNN (paper: 0.4)": (0.3,),
        "MLP": (0.6,),
    }
    assert ax.get_xscale() == "log"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["CNN (paper: 0.4)", "MLP"]


@pytest.mark.parametrize(("label", "columns"), [("short", 6), ("a label of more than thirty letters", 3)])
def test_a_legend_is_no_wider_than_its_figure(label, columns):
    figure, (ax,) = figures.panels(1, "page")
    for i in range(6):
        ax.plot([0, 1], [0, i], label=f"{label} {i}")
    figures.legend(figure)
    (legend,) = figure.legends
    assert legend._ncols == columns and len(legend.get_texts()) == 6
    assert legend.get_window_extent().width <= figure.bbox.width


@pytest.mark.parametrize("n_panels", [1, 2])
def test_a_legend_takes_at_most_a_third_of_the_height(n_panels):
    figure, axes = figures.panels(n_panels)
    for i in range(14):
        axes[0].plot([0, 1], [0, i], label=f"a label of more than thirty letters {i}")
    figures.legend(figure)
    figure.canvas.draw()
    (legend,), box = figure.legends, axes[0].get_window_extent()
    beside = legend.get_window_extent().x0 > box.x1
    assert beside == (n_panels == 1) == (figure.get_figwidth() == figures.WIDTHS["page"])
    assert beside or legend.get_window_extent().height <= figure.bbox.height / 3
    assert box.height > figure.bbox.height / 3
    assert legend.get_window_extent().height <= figure.bbox.height


def test_figures_have_the_widths_of_a_venue():
    assert tuple(figures.VENUES) == arguments.VENUES
    before = dict(figures.WIDTHS)
    for venue, widths in figures.VENUES.items():
        with figures.for_venue(venue):
            for name, width in widths.items():
                assert figures.panels(1, name)[0].get_figwidth() == width
    assert before == figures.WIDTHS


def test_a_narrow_axis_of_parameters_has_few_ticks():
    for sizes_, least, most in (((4.8e6, 7.6e6), 2, 5), ((1e5, 4e6), 3, 9)):
        _, (ax,) = figures.panels()
        ax.plot(sizes_, (0, 1))
        sizes.parameters_axis(ax)
        low, high = ax.get_xlim()
        assert least <= sum(low <= tick <= high for tick in ax.get_xticks()) <= most


def test_sizes_that_most_share_tell_nothing():
    def tell(*trained, floor=None):
        frame = pd.DataFrame({"trained_parameters": trained, "f1": 0.5})
        return bool(sizes.sizes_tell(frame if floor is None else frame.assign(floor=floor), "f1"))

    assert tell(10, 20) and tell(10, 20, 20, 30) and not tell(10, 10) and not tell(10, 20, 20, 20)
    assert tell(10, 20, 20, 20, floor=[None, None, "SLU-F1", "SLU-F1"])  # the wrong audio is no system
    assert not tell(0, 10) and not tell()


def test_rows_of_panels_share_their_limits():
    assert figures.groups(list("abcdefg")) == [list("abcd"), list("efg")]
    assert figures.groups(list("abcdef")) == [list("abcdef")] and figures.groups([]) == [[]]
    _, axes = figures.panels(1, rows=2)
    for ax, most in zip(axes, (1, 5), strict=True):
        ax.set_xlim(0, most)
        ax.set_ylim(-most, 1)
    figures.same_limits(axes)
    assert [(ax.get_xlim(), ax.get_ylim()) for ax in axes] == [((0, 5), (-5, 1))] * 2


def test_a_floor_above_all_points_is_seen():
    _, (ax,) = figures.panels()
    ax.plot([0, 1], [0.05, 0.1])
    ax.set_ylim(0, None)
    floors.line(ax, 0.2, "floor", "-")
    assert ax.get_ylim()[1] > 0.2


def look_alike(found):
    return len(found) - min(len({part(look) for look in found.values()}) for part in (_drawn, _label))


def _drawn(look):
    return look.colour, look.marker


def _label(look):
    return look.label


@pytest.mark.parametrize("name", studies.known_studies())
def test_no_two_variants_of_a_study_look_alike(name):
    study, _ = studies.load(name, "mini")
    found = looks.of(study)
    assert list(found) == list(study.variants) and look_alike(found) == 0


def test_a_look_alike_is_seen():
    one = looks.Look("MLP", "#0072B2", "o", "-")
    assert look_alike({"a": one, "b": one._replace(label="CNN")}) == 1
    assert look_alike({"a": one, "b": one._replace(marker="s")}) == 1


@pytest.mark.parametrize("study", ["adapter_size", "lora", "multistage"])
def test_the_variants_of_a_study_are_told_apart_without_colour(study):
    found = looks.of(studies.load(study, "smoke")[0]).values()
    assert len({look.marker for look in found}) == len(found) > 8


def test_variants_have_the_colour_and_the_marker_of_their_axis_values():
    study, _ = studies.load("foundation_type", "mini")
    found, llms = looks.of(study), looks.of_axis(study, "llm")
    taught = looks.of_axis(study, "supervision")
    for name in study.variants:
        at = study.place(name).axes
        if at.keys() == {"llm", "supervision"}:
            drawn = (llms[at["llm"]].colour, taught[at["supervision"]].marker)
            assert _drawn(found[name]) == drawn
    assert found["hybrid_hybrid_think"].label == "hybrid: hybrid, thinking"


def test_an_adapter_has_one_colour_in_all_studies():
    colours = set()
    for name in ("adapter_size", "adapter_reading", "lora"):
        study, _ = studies.load(name, "mini")
        at = {variant: study.place(variant).axes for variant in study.variants}
        of_mlp = [v for v in at if at[v].get("adapter") == "mlp" and "control" not in at[v]]
        colours |= {looks.of(study)[variant].colour for variant in of_mlp}
    assert colours == {looks.COLOURS["blue"]}


def of_variants(**variants):
    about = dict.fromkeys(("study", "title", "paper", "question"), "new")
    about |= {"baseline": next(iter(variants)), "extremes": list(variants)[:2], "base": {}}
    return Study(**about, variants=variants, reported=[], claims=[])


def test_a_new_study_is_drawn_by_its_own_names():
    """What other studies call `none` or `mlp` is nothing to it."""
    found = looks.of(of_variants(none={}, mlp={}, lora_r8={}))
    assert [look.label for look in found.values()] == ["none", "mlp", "lora r8"]
    many = looks.of(of_variants(**{f"v{i}": {} for i in range(60)}))
    assert look_alike(many) == 0


def test_files_are_the_same_bytes_each_time(curves, tmp_path):
    def drawn(folder):
        figure, (ax,) = figures.panels()
        figures.learning_curves(curves, ax)
        figures.legend(figure)
        paths = figures.save(figure, folder, "curves", "smoke")
        return {path.name: path.read_bytes() for path in paths}

    first = drawn(tmp_path / "a")
    assert first == drawn(tmp_path / "b")
    assert sorted(first) == sorted(p.name for p in (tmp_path / "a").iterdir()) == ["curves.pdf", "curves.png"]
    assert b"CreationDate" not in first["curves.pdf"] and b"Software" not in first["curves.png"]


def test_panels_are_laid_out_once_for_both_files(tmp_path, monkeypatch):
    laid_out = []
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda self, figure: laid_out.append(figure))
    figure, _ = figures.panels()
    figures.save(figure, tmp_path, "empty", "mini")
    assert laid_out == [figure]


def test_smoke_is_marked_and_other_profiles_are_not(tmp_path):
    for profile, mark in (("smoke", tables.SMOKE_MARK), ("mini", "")):
        figure, _ = figures.panels()
        figures.save(figure, tmp_path, "empty", profile)
        assert figure.get_supxlabel() == mark


def test_a_line_below_a_figure_gives_way_to_the_mark_of_smoke(tmp_path):
    for profile, said in (("smoke", tables.SMOKE_MARK), ("mini", "profile mini; 500 test utterances")):
        figure, _ = figures.panels()
        figures.save(figure, tmp_path, "empty", profile, "profile mini; 500 test utterances")
        assert figure.get_supxlabel() == said


def test_the_reader_s_own_settings_are_left_alone(curves):
    before = dict(plt.rcParams)
    _, (ax,) = figures.panels()
    figures.learning_curves(curves, ax)
    assert dict(plt.rcParams) == before


def test_reports_need_no_torch():
    code = (
        "import sys; from speechllm_bench.reports import claims, figures, tables;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bars_of_one_colour_differ_in_their_hatch():
    one = looks.Look("one", "#0072B2", "o", "-")
    own = {"one": one, "other": one._replace(label="other", marker="s")}
    rows = [{"set": "A", "system": name, "f1": 0.5, "low": 0.4, "high": 0.6} for name in own]
    _, (ax,) = figures.panels()
    figures.grouped_bars(pd.DataFrame(rows), {"set": ["A"], "system": list(own)}, ax, own)
    assert len({bar.get_hatch() for bar in ax.patches}) == 2


def test_a_bar_that_is_missing_says_why_and_a_single_bar_stays_narrow():
    own = looks.of(of_variants(one={}, other={}))
    line = {"f1": 0.5, "low": 0.4, "high": 0.6}
    rows = [{"set": one, "system": name} | line for one, name in (("A", "one"), ("B", "one"), ("A", "other"))]
    _, (ax, alone) = figures.panels(2)
    figures.grouped_bars(pd.DataFrame(rows), {"set": ["A", "B"], "system": list(own)}, ax, own)
    assert [(text.get_text(), round(text.xy[0], 2)) for text in ax.texts] == [("NOT RUN", 1.15)]
    figures.grouped_bars(pd.DataFrame(rows[:1]), {"set": ["A"], "system": ["one"]}, alone, own)
    (bar,) = alone.patches
    assert bar.get_width() < figures.WIDEST / 2 and bar.get_x() + bar.get_width() / 2 == pytest.approx(0)


def test_a_panel_for_each_test_set_with_floors_of_its_own():
    study, _ = studies.load("backbones", "mini")
    f1 = {"A": 0.5, "B": 0.4}
    names = [name for name in study.variants if study.variant(name).evaluation.slot_types == "in_domain"]
    lines = []
    for i, name in enumerate(names):
        asked = study.variant(name).evaluation
        known, is_floor = f1[asked.split[0]], asked.answerer != "model"
        line = {"variant": name, "trained_parameters": 0 if is_floor else 1000 * (i + 1), "reported": np.nan}
        line |= {"f1": known / 4 if is_floor else known, "f1_low": known, "f1_high": known}
        lines.append(line | {"floor": f"F1, {asked.split}" if is_floor else None})
    figure = sizes.parameters_figure(study, pd.DataFrame(lines))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["A-test", "B-test"]
    drawn = [{line.get_ydata()[0] for line in ax.lines if "floor" in line.get_label()} for ax in figure.axes]
    assert drawn == [{0.125}, {0.1}]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_parameters_that_only_reading_trained_are_not_on_the_axis():
    study, _ = studies.load("adapter_reading", "small")
    lora, sizes_ = 5000, {"cnn": 100, "mlp": 800, "transformer": 2000}
    lines = [
        {"variant": name, "trained_parameters": lora + size, tables.AFTER_READING: size, "reported": np.nan}
        | {"f1": 0.3, "f1_low": 0.2, "f1_high": 0.4, "floor": None}
        for name, size in sizes_.items()
    ]
    (ax,) = sizes.parameters_figure(study, pd.DataFrame(lines)).axes
    assert sorted(float(points.get_xdata()[0]) for points in labelled(ax).values()) == [100, 800, 2000]
    assert ax.get_xlabel() == "parameters trained after\nthe LLM has learned to read"


def test_stages_of_one_name_are_named_once_and_the_highest_marker_is_whole(curves):
    second = curves.assign(stage="more", examples=curves["examples"] + 300)
    both = pd.concat([curves, second])
    late = both[both["variant"] == "cnn"].assign(variant="late")
    late["examples"] += 50
    _, (ax,) = figures.panels()
    figures.learning_curves(pd.concat([both, late]), ax, "f1")
    assert [text.get_text() for text in ax.texts] == ["slots", "more"]
    assert ax.texts[0].get_bbox_patch().get_facecolor()[:3] == (1, 1, 1)
    assert ax.get_ylim()[0] == 0 and 1.3 / ax.get_ylim()[1] < ax.texts[-1].get_position()[1] - 0.04
    _, (of_loss,) = figures.panels()
    figures.learning_curves(both, of_loss)
    low, high = of_loss.get_ylim()
    assert (1.3 - low) / (high - low) < of_loss.texts[-1].get_position()[1] - 0.04


def test_a_name_stands_on_the_side_of_its_rule_that_has_room(curves):
    later = [curves.assign(stage=f"{name}", examples=curves["examples"] / 10 + at)
             for name, at in (("transcription", 300), ("entity", 340))]  # fmt: skip
    _, (ax,) = figures.panels()
    figures.learning_curves(pd.concat([curves, *later]), ax)
    assert {text.get_text(): text.get_ha() for text in ax.texts} == {
        "slots": "left",
        "transcription →": "right",
        "entity →": "right",
    }
    _, (ax,) = figures.panels()
    figures.learning_curves(pd.concat([curves, *(frame.replace("entity", "a") for frame in later)]), ax)
    sides = {text.get_text(): text.get_ha() for text in ax.texts}
    assert sides == {"slots": "left", "transcription →": "right", "a": "left"}


def test_markers_that_look_alike_are_not_allowed():
    found = looks.of(of_variants(**{f"v{i}": {} for i in range(60)}))
    assert not {"8", "H"} & {look.marker for look in found.values()}
