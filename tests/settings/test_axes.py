"""Grids of axis values: what they unfold to, what names they give, and what they refuse."""

from __future__ import annotations

import ast

import pytest
import yaml

from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.settings import axes, catalogue, experiments, strict
from speechllm_bench.storage import paths

OWN = {
    "adapter": {"mlp": {"label": "the MLP"}, "wide": {"set": {"adapter": "mlp", "width_factor": 2}}},
    "lora": {"tuned": {"name": "lora", "label": "+ LoRA", "set": {"lora": True}}, "off": {"name": ""}},
}


def values(own=OWN):
    return {axis: {k: axes.Value(**v) for k, v in some.items()} for axis, some in own.items()}


def unfolded(*grid, names="{adapter}_{lora}_{test_set}", labels=None):
    return axes.unfolded(values(), grid, names, labels)


def test_a_block_stands_for_every_combination_the_first_axis_outermost():
    found = unfolded({"adapter": ["wide", "mlp"], "lora": ["off", "tuned"]}, names=None)
    assert [place.name for place in found] == ["wide", "wide_lora", "mlp", "mlp_lora"]
    assert found[1].axes == {"adapter": "wide", "lora": "tuned"}
    assert found[1].changes == {"adapter": "mlp", "width_factor": 2, "lora": True}
    assert [place.label for place in found] == [
        "wide, off",
        "wide, + LoRA",
        "the MLP, off",
        "the MLP, + LoRA",
    ]


def test_a_shared_value_is_a_studys_own_where_it_says_so_and_as_shared_elsewhere():
    (place,) = unfolded({"adapter": "mlp", "test_set": "B-OOD"})
    assert (place.name, place.label) == ("mlp_b_ood", "the MLP, B-OOD")
    assert place.changes == {
        "adapter": "mlp",
        "evaluation": {"split": "B-test", "slot_types": "out_of_domain"},
    }
    known = axes.known(values())
    assert known["adapter"]["mlp"].colour == "blue" and known["adapter"]["cnn"].label == "CNN"


def test_all_are_the_studys_own_values_and_later_axes_lie_over_earlier_ones():
    found = unfolded({"adapter": "all", "set": {"width_factor": 3}})
    assert [place.changes["width_factor"] for place in found] == [3, 3]
    first, last = (
        unfolded({"control": "chance", "adapter": "mlp"}),
        unfolded({"adapter": "mlp", "control": "chance"}),
    )
    assert (first[0].changes["adapter"], last[0].changes["adapter"]) == ("mlp", None)


@pytest.mark.parametrize(
    ("template", "parts", "text"),
    [
        ("{a}_{b}", {"a": "x", "b": "y"}, "x_y"),
        ("{a}_{b}", {"b": "y"}, "y"),
        ("{a}_{b}_{c}", {"a": "x", "b": "", "c": "z"}, "x_z"),
        ("{a}: {b}, {c}", {"a": "x", "c": "z"}, "x, z"),
        ("one_{a}", {"a": "x"}, "one_x"),
        ("{a} alone", {"a": "x"}, "x alone"),
        ("told", {}, "told"),
    ],
)
def test_what_stands_before_a_missing_part_goes_with_it(template, parts, text):
    assert axes.filled(template, parts) == text


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            {"adapter": "mpl"},
            "key 'grid.0.adapter' has value 'mpl': no value of axis 'adapter'; there are: cnn, ",
        ),
        ({"adapter": ["mlp", 3]}, "key 'grid.0.adapter' has value 3"),
        ({"adaptr": "mlp"}, "no value of axis 'adaptr'; there are: none"),
        ({"test_set": "all"}, "key 'grid.0.test_set' has value 'all'"),
        ({"lora": "off"}, "grid.0 makes a variant without a name"),
        ({"adapter": "mlp", "lora": ["off", "off"]}, "grid.0 makes the variant 'mlp' a second time"),
        ({"adapter": "mlp", "name": "{adapter"}, "'{adapter' is no template as"),
        ({"adapter": "mlp", "set": [1]}, "grid.0.set"),
    ],
)
def test_what_a_grid_cannot_mean_is_said(block, said):
    with pytest.raises(ValueError, match="^(?s:.*)") as error:
        unfolded(block)
    assert said in str(error.value)


def test_a_mapping_changes_the_stages_that_it_names():
    base = {"stages": [{"name": "a", "tasks": {"x": 1}}, {"name": "b", "train": ["adapter"]}]}
    found = strict.overlay(base, {"stages": {"b": {"train": ["lora"]}, "a": {"times": 2}}})
    assert found["stages"] == [{"name": "a", "tasks": {"x": 1}, "times": 2}, {"name": "b", "train": ["lora"]}]
    assert strict.overlay(base, {"stages": {"last": {"times": 2}}})["stages"][1]["times"] == 2
    assert base["stages"][1] == {"name": "b", "train": ["adapter"]}
    with pytest.raises(ValueError, match=r"key 'stages.c' has value \{\}: stages to change are: a, b, last"):
        strict.overlay(base, {"stages": {"c": {}}})


@pytest.fixture
def written(tmp_path):
    """A study of one's own beside lora's, and a function that changes it and reads it."""
    content = yaml.safe_load((paths.EXPERIMENTS / "lora.yaml").read_text("utf-8"))

    def read(**changes):
        file = tmp_path / "lora.yaml"
        file.write_text(yaml.safe_dump(content | changes, sort_keys=False))
        return experiments.load_study(file)

    return read


def test_a_mistake_in_a_value_is_told_by_its_place_in_the_file(written):
    wrong = {"tuned": {"name": "lora", "set": {"loras": True}}, "own_rate": {"name": "lora_own_rate"}}
    with pytest.raises(UserError, match=r"lora.yaml: unknown key 'axes.lora.tuned.set.loras' \(value True\)"):
        written(axes={"lora": wrong})
    wrong["tuned"]["set"] = {"stages": {"slotz": {"train": ["lora"]}}}
    with pytest.raises(
        UserError, match=r"lora.yaml, variant '\w+': key 'stages.slotz' has value .*slots, last"
    ):
        written(axes={"lora": wrong})
    wrong["tuned"] = {"name": "lora", "color": "blue"}
    with pytest.raises(
        UserError, match=r"unknown key 'axes.lora.tuned.color' .* label, name, colour, marker"
    ):
        written(axes={"lora": wrong})
    with pytest.raises(UserError, match="'mlp' is a variant of the grid and stands under variants"):
        written(variants={"mlp": {}})
    with pytest.raises(UserError, match="a study has a grid or variants, and this one has neither"):
        written(grid=[])


def test_further_variants_stand_beside_those_of_the_grid(written):
    study = written(variants={"further": {"lr_factor": 2}})
    assert list(study.variants)[-1] == "further" and study.variant("further").lr_factor == 2
    assert study.place("further").axes == {axes.ALONE: "further"}
    assert study.place("mlp_lora").axes == {"adapter": "mlp", "lora": "tuned"}


def test_every_study_names_its_controls_and_test_sets_from_the_shared_file():
    """What chance, wrong audio and the test sets are is written once."""
    for name, file in catalogue.study_files().items():
        text = file.read_text("utf-8")
        assert not {"chance_copier", "B-test"} & set(text.replace("}", " ").replace(",", " ").split()), name
        study, _ = studies.load(name, "mini")
        for variant in study.variants:
            asked, at = study.variant(variant).evaluation, study.place(variant).axes
            heard = asked.answerer == "model" and asked.audio == "own"
            assert heard == ("control" not in at), variant
            assert (asked.split == "B-test") == at.get("test_set", "A").startswith("B"), variant


def test_no_study_stands_in_the_reports():
    """They group and draw by axis values, and a study's YAML names its figures and tables."""
    found = {}
    for file in sorted((paths.PROJECT / "src" / "speechllm_bench" / "reports").glob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        if named := {name for name in catalogue.study_files() if name in words}:
            found[file.stem] = named
    parts = {"effects": {"lora"}, "measured": {"lora"}}  # of a model
    stages = {"progress": {"warm_start"}, "figures": {"warm_start"}}
    assert found == parts | stages | {"sizes": {"context"}}  # no studies


def test_any_setting_of_a_profile_is_an_axis(written):
    """By its dotted path; a value that is not allowed is refused with key, value and what is."""
    ranks = {rank: {"set": {"override": {"lora.rank": int(rank)}}} for rank in ("4", "16")}
    about = {"axes": {"rank": ranks}, "names": "rank_{rank}", "labels": None, "claims": [], "reported": []}
    about |= {"telling": [], "baseline": "rank_4", "extremes": ["rank_4", "rank_16"]}
    tuned = {"lora": True, "stages": {"last": {"train": ["adapter", "lora"]}}}
    study = written(**about, grid=[{"rank": "all", "set": tuned}])
    _, profile = studies.load("lora", "mini")
    found = [experiments.resolve(profile, study.variant(name), 0) for name in study.variants]
    assert [config.lora.rank for config in found] == [4, 16]
    ranks["4"]["set"]["override"] = {"lora.ranks": 4}
    study = written(**about, grid=[{"rank": "all", "set": tuned}])
    with pytest.raises(
        UserError, match=r"'rank_4' .*unknown key 'lora.ranks' \(value 4\); allowed here: rank, "
    ):
        experiments.resolve(profile, study.variant("rank_4"), 0, study.named("rank_4"))
