"""Overrides by dotted path: in a study's variants and base."""

from __future__ import annotations

import pytest
import yaml

from speechllm_bench import experiments, paths, studies
from speechllm_bench.errors import MissingInput, UserError


def put(**variants):
    """Write variants of the study, `base` for its base block; returns its file."""
    file = paths.EXPERIMENTS / "adapter_size.yaml"
    study = yaml.safe_load(file.read_text())
    study["base"] |= variants.pop("base", {})
    study["variants"] |= variants
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    return file


def config(variant, profile="smoke"):
    return studies.run("adapter_size", variant, 0, profile).config


def changed_paths(before, after, prefix=""):
    """Dotted paths of two dumps that differ, with both values."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = {**before, **after}
        found = [changed_paths(before.get(k), after.get(k), f"{prefix}{k}.") for k in keys]
        return {path: pair for one in found for path, pair in one.items()}
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        found = [
            changed_paths(a, b, f"{prefix}{i}.") for i, (a, b) in enumerate(zip(before, after, strict=True))
        ]
        return {path: pair for one in found for path, pair in one.items()}
    return {} if before == after else {prefix.removesuffix("."): (before, after)}


@pytest.mark.parametrize(
    ("override", "changes"),
    [
        ({"training.batch_size": 16}, {"stages.0.batch_size": (4, 16), "stages.1.batch_size": (4, 16)}),
        ({"decoding.max_new_tokens": 40, "decoding.beams": 3},
         {"evaluation.max_new_tokens": (16, 40), "evaluation.beams": (None, 3)}),
        ({"adapters.mlp.width": 64}, {"adapter.width": (16, 64)}),
        ({"adapters.mlp": {"width": 64}}, {"adapter.width": (16, 64)}),
        ({"budgets.slots": 8}, {"stages.1.examples": (64, 8)}),
        ({"encoder": "zoo/other"}, {"encoder.path": ("zoo/toy-whisper", "zoo/other")}),
        ({"encoder.padding": "30s"}, {"encoder.padding": ("trimmed", "30s")}),
        ({"corpus.sizes.train": 8}, {"corpus.sizes.train": (40, 8)}),
        ({"prompt": "english"}, {"prompt": (None, "english")}),
    ],
)  # fmt: skip
def test_an_override_changes_its_setting_and_nothing_else(suite, override, changes):
    before = config("mlp").model_dump()
    put(other={"adapter": "mlp", "override": override})
    assert changed_paths(before, config("other").model_dump()) == changes


def test_lora_is_overridden_where_a_variant_has_it(suite):
    put(other={"lora": True, "override": {"lora.rank": 16, "lora.alpha": 64}})
    assert config("other").lora.model_dump(exclude_none=True) == {"rank": 16, "alpha": 64, "dropout": 0.0}


def test_a_base_override_is_every_variants_and_one_of_a_variant_goes_before_it(suite):
    put(
        base={"override": {"training.lr": 0.5, "budgets.slots": 8}},
        linear={"override": {"training.lr": 0.25}},
    )
    assert [(s.lr, s.examples) for s in config("mlp").stages] == [(0.5, 32), (0.5, 8)]
    assert [s.lr for s in config("linear").stages] == [0.25, 0.25]


def test_factors_of_a_variant_apply_to_the_override(suite):
    put(other={"lr_factor": 2, "override": {"training.lr": 0.25}})
    assert config("other").stages[0].lr == 0.5


def test_an_override_beats_what_the_paper_has_of_its_own(suite):
    file = paths.EXPERIMENTS / "profiles" / "smoke.yaml"
    profile = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(profile | {"papers": {"2510.15851": {"llm": "zoo/theirs"}}}))
    put(other={"override": {"llm": "zoo/mine"}})
    assert (config("mlp").llm, config("other").llm) == ("zoo/theirs", "zoo/mine")


def test_an_encoder_may_have_a_name_in_the_profile(suite):
    file = paths.EXPERIMENTS / "profiles" / "smoke.yaml"
    profile = yaml.safe_load(file.read_text())
    small = {"small": {"path": "zoo/small", "padding": "30s"}}
    file.write_text(yaml.safe_dump(profile | {"encoders": small}))
    put(other={"override": {"encoder": "small"}})
    assert config("other").encoder.model_dump() == small["small"]
    with pytest.raises(MissingInput, match="'mini' names no encoder 'small'; its encoders are: none"):
        config("other", "mini")  # as with roles of LLMs: not run there
    rows = {row["variant"]: row["run"] for row in studies.records("adapter_size", "mini", [0])}
    assert rows["other"] is None and rows["mlp"] is not None
    put(other={"override": {"encoder": "smal"}})
    with pytest.raises(
        UserError, match="the role 'smal', which no profile has under encoders; there are: small"
    ):
        config("other")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ({"lora.rnk": 16}, "unknown key 'lora.rnk' (value 16); allowed here: rank, alpha, dropout, targets"),
        ({"lora.rank": "16"}, "key 'lora.rank' has value '16': Input should be a valid integer"),
        ({"lora.rank": 0}, "key 'lora.rank' has value 0: Input should be greater than 0"),
        ({"lora.rank.x": 1}, "key 'lora.rank' is a value, 4, and has no settings of its own"),
        ({"adapters.mpl.width": 3}, "unknown key 'adapters.mpl'; there are: cnn, cnn_xl, linear, mlp"),
        ({"warm_start.examples": 8}, "key 'warm_start.batch_size' is missing"),
        ({"decoding.beams": 2.5}, "key 'decoding.beams' has value 2.5"),
    ],
)
def test_a_wrong_override_names_file_variant_key_and_what_is_allowed(suite, override, told):
    put(mlp={"override": override})
    with pytest.raises(UserError) as error:
        studies.plan(["adapter_size"], "smoke")
    where = "adapter_size.yaml, variant 'mlp' at profile 'smoke', override: "
    assert str(error.value).startswith(where + told)


@pytest.mark.parametrize("key", ["seeds", "papers.none.llm", "rank", "profile", 3])
def test_what_is_no_setting_of_a_run_is_refused_when_the_study_is_read(suite, key):
    file = put(mlp={"override": {key: 1}})
    with pytest.raises(UserError) as error:
        experiments.load_study(file)
    assert str(error.value).startswith("adapter_size.yaml")
    assert f"'{key}'" in str(error.value) or "override.3" in str(error.value)


def test_an_override_without_effect_is_refused_unless_it_is_the_profiles_own_value(suite):
    put(other={"lora": False, "override": {"lora.rank": 16}})
    with pytest.raises(
        UserError, match=r"variant 'other': override 'lora.rank' \(value 16\) changes nothing"
    ):
        config("other")
    put(other={"lora": True, "override": {"lora.rank": 4}})
    assert config("other").lora.rank == 4
    put(base={"override": {"lora.rank": 16}}, other={"lora": True})  # of a base, which is every variant's
    assert config("mlp").lora is None and config("other").lora.rank == 16
