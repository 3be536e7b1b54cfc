"""Overrides by dotted path: in a study's variants and base, and on the command line."""

from __future__ import annotations

import pytest
import yaml

from speechllm_bench import cli
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.planning import studies
from speechllm_bench.running import runner
from speechllm_bench.settings import experiments, overrides
from speechllm_bench.storage import paths, sealed


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
         {"evaluation.max_new_tokens": (16, 40), "evaluation.beams": (None, 3),
          "stages.0.decoded_tokens": (None, 40), "stages.1.decoded_tokens": (None, 40)}),
        ({"adapters.mlp.width": 64}, {"adapter.width": (16, 64)}),
        ({"adapters.mlp": {"width": 64}}, {"adapter.width": (16, 64)}),
        ({"adapters.mlp": {"kind": "linear"}},
         {"adapter.kind": ("mlp", "linear"), "adapter.width": (16, None), "adapter.layers": (1, None)}),
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


def test_a_curve_decoded_otherwise_is_that_of_another_stage(suite):
    before = studies.run("adapter_size", "mlp", 0, "smoke")
    put(
        other={"adapter": "mlp", "override": {"decoding.max_new_tokens": 40}},
        same={"adapter": "mlp", "override": {"decoding.max_new_tokens": 16}},
        beams={"adapter": "mlp", "override": {"decoding.beams": 3}},
    )
    other, same, beams = (
        studies.run("adapter_size", name, 0, "smoke") for name in ("other", "same", "beams")
    )
    assert not {*before.stages} & {*other.stages} and same.digest == before.digest
    assert beams.stages == before.stages and beams.digest != before.digest  # curves are decoded greedily


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
        ({"adapters.mlp.heads": 4}, "unknown key 'adapters.mlp.heads' (value 4); allowed here: scaled, kind"),
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


@pytest.mark.parametrize(
    ("assignments", "name"),
    [
        (["training.lr=1e-4", "lora.rank=16"], "mini+lora.rank=16,training.lr=0.0001"),
        (["llm=zoo/llm-nano"], "mini+llm=zoo%2Fllm-nano"),
        (["traces=12"], "mini+traces=12"),
        (['traces="12"'], "mini+traces=%2212%22"),
        (["labels=a,b+c=d"], "mini+labels=a%2Cb%2Bc%3Dd"),
        (["adapters.mlp={width: 8}"], "mini+adapters.mlp=%7B%22width%22%3A%208%7D"),
        (["traces=null", "labels=2020-01-01"], "mini+labels=2020-01-01,traces=null"),
        ([], "mini"),
    ],
)
def test_a_profiles_name_holds_its_settings_and_gives_them_back(assignments, name):
    settings = overrides.parse(assignments)
    assert overrides.with_settings("mini", settings) == name and "/" not in name
    assert overrides.split(name) == ("mini", settings)
    assert overrides.base_profile(name) == "mini"


def test_settings_add_to_those_a_name_has_and_replace_the_same():
    assert overrides.with_settings("mini+a=1,b=2", {"b": 3, "c": "x"}) == "mini+a=1,b=3,c=x"


@pytest.mark.parametrize(
    "name", ["mini+", "mini+a", "mini+a=../x", "mini+a=1.50", "mini+a=1,,b=2", "mini+/=1"]
)
def test_a_name_in_another_form_is_refused(name):
    with pytest.raises(UserError, match="write --profile mini --set"):
        overrides.split(name)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["--set", "lora.rank"], "--set has the form key=value, as lora.rank=16, got 'lora.rank'"),
        (["--set", "a=1", "--set", "a=2"], "--set names 'a' twice"),
        (["--set", "lora.rnk=16"], "--set: unknown key 'lora.rnk' (value 16); allowed here: rank, alpha"),
        (["--set", "seeds=[1]"], "--set: unknown key 'seeds' (value [1]); allowed are paths that begin with"),
        *(
            (["--set", f"lora.rank={odd}"], f"--set: key 'lora.rank' has value '{odd}'")
            for odd in ("2020-13-45", "0x_", "!!float abc", "!!bool abc", "!!timestamp abc")
        ),
        (["--set", "lora.rank=\udcff"], "--set lora.rank has a value that is not UTF-8 text"),
        (["--set", "lora.rank=many"], "--set: key 'lora.rank' has value 'many'"),
        (["--set", "labels=" + 200 * "x"], "write a profile that says `extend: smoke`"),
        (["--profile", "big", "--set", "lora.rank=2"], "there is no profile 'big'"),
    ],
)
def test_a_wrong_setting_of_the_command_line_is_refused(suite, capsys, line, told):
    assert cli.main(["plan", "adapter_size", *line]) == 2
    assert told in capsys.readouterr().err


def test_results_of_set_are_kept_apart_and_never_stand_in_a_profiles_tables(suite, capsys, monkeypatch):
    started = []
    monkeypatch.setattr(
        runner, "run_missing", lambda plan, jobs, **_: started.append(plan) or runner.Outcome((), (), 0)
    )
    assert cli.main(["study", "adapter_size", "--variants", "mlp", "--set", "training.lr=0.5"]) == 0
    (run,) = started[0].runs
    assert run.profile == "smoke+training.lr=0.5" and run.config.stages[0].lr == 0.5
    assert run.folder == suite / "results" / "smoke+training.lr=0.5" / "runs" / run.digest
    assert runner.run_command(run, 1)[-3] == run.profile  # its process resolves the same
    assert studies.run("adapter_size", "mlp", 0, run.profile) == run
    apart = suite / "results" / "smoke+training.lr=0.5"
    assert "; with training.lr = 0.5" in (apart / "README.md").read_text()
    assert "SMOKE PROFILE" in (apart / "README.md").read_text()  # as all of smoke
    assert not (suite / "results" / "smoke").exists()


def test_a_run_made_with_settings_is_refused_in_another_profile(suite):
    """Settings that change nothing of a run, as LoRA's of one without, leave it its digest."""
    apart = studies.run("adapter_size", "mlp", 0, "smoke+lora.rank=16")
    plain = studies.run("adapter_size", "mlp", 0, "smoke")
    assert apart.digest == plain.digest and apart.folder != plain.folder
    record = {"status": "diverged", "overrides": {"lora.rank": 16}}
    for run in (apart, plain):
        sealed.write(run.folder / "run.json", record, {})
    assert studies.records("adapter_size", apart.profile)
    with pytest.raises(
        UserError, match="made with lora.rank=16 set, and so does not belong to profile 'smoke'"
    ):
        studies.records("adapter_size", "smoke")
    sealed.write(apart.folder / "run.json", {"status": "diverged"}, {})
    with pytest.raises(UserError, match="made with nothing set"):
        studies.records("adapter_size", apart.profile)


def test_set_goes_before_a_papers_own_and_behind_a_variants(suite):
    file = paths.EXPERIMENTS / "profiles" / "smoke.yaml"
    profile = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(profile | {"papers": {"2510.15851": {"llm": "zoo/theirs"}}}))
    put(other={"override": {"llm": "zoo/variant"}})
    name = "smoke+llm=zoo%2Fset"
    assert config("mlp", name).llm == "zoo/set" and config("other", name).llm == "zoo/variant"
