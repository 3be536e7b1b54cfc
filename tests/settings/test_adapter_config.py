"""Settings of adapters: each kind has its own, and digests are those of the one class that they were."""

from __future__ import annotations

import json

import pytest
import yaml
from conftest import ADAPTERS, validated

from speechllm_bench.errors import UserError
from speechllm_bench.planning import identity, studies
from speechllm_bench.settings import profiles
from speechllm_bench.storage import paths

RECORDS = sorted((paths.PROJECT / "results" / "mini" / "runs").glob("*/run.json"))


def told(suite, **settings):
    file = suite / "experiments" / "profiles" / "smoke.yaml"
    content = yaml.safe_load(file.read_text())
    content["adapters"]["mlp"] = settings
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as error:
        profiles.load_profile(file)
    return str(error.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (ADAPTERS["mlp"] | {"heads": 4},
         "unknown key 'adapters.mlp.heads' (value 4); allowed here: scaled, kind, width, layers"),
        ({"kind": "transformer", "width": 16, "layers": 1, "feed_forward": 8},
         "key 'adapters.mlp.heads' is missing"),
        (ADAPTERS["transformer"] | {"heads": 0},
         "key 'adapters.mlp.heads' has value 0: Input should be greater than 0"),
        ({"kind": "mlp", "width": 16, "layers": 0}, "key 'adapters.mlp.layers' has value 0"),
        ({"kind": "linear", "width": 1},
         "unknown key 'adapters.mlp.width' (value 1); allowed here: scaled, kind"),
        ({"kind": "cnn", "width": 8, "steps_per_30s": 250}, "unknown key 'adapters.mlp.steps_per_30s'"),
        ({"kind": "pooling"}, "key 'adapters.mlp.steps_per_30s' is missing"),
        ({"kind": "rnn", "width": 8},
         "key 'adapters.mlp.kind' has value 'rnn': allowed are 'cnn', 'cnn_xl', 'linear', 'mlp', 'transf"),
        ({"width": 8}, "key 'adapters.mlp.kind' is missing"),
    ],
)  # fmt: skip
def test_a_setting_of_another_kind_or_a_missing_one_is_refused_as_the_profile_is_read(
    suite, settings, sentence
):
    assert told(suite, **settings).startswith(f"smoke.yaml: {sentence}")


def test_heads_divide_the_width(suite):
    wrong = ADAPTERS["transformer"] | {"heads": 3}
    assert "heads divide the width, but 3 heads do not divide 16" in told(suite, **wrong)


@pytest.mark.parametrize(("width", "heads"), [(63, 1), (63, 3), (2, 2), (1, 1)])
def test_a_transformers_width_leaves_room_for_its_positions(suite, width, heads):
    wrong = ADAPTERS["transformer"] | {"width": width, "heads": heads}
    sentence = f"the width of a Transformer is even and at least 4, but here it is {width}"
    assert told(suite, **wrong).endswith(f": {sentence}")


def test_a_width_factor_needs_a_width(suite):
    file = suite / "experiments" / "adapter_size.yaml"
    study = yaml.safe_load(file.read_text())
    study["variants"]["linear"]["width_factor"] = 2.0
    file.write_text(yaml.safe_dump(study))
    with pytest.raises(UserError) as error:
        studies.plan(["adapter_size"], "smoke", ["linear"])
    assert str(error.value) == (
        "adapter_size.yaml, variant 'linear' at profile 'smoke': width_factor scales a width, and the "
        "adapter 'linear' has none"
    )


@pytest.mark.parametrize("kind", sorted(identity.ONE_CLASS_KINDS))
def test_a_digest_rests_on_all_settings_of_the_one_class_there_was(kind, tiny_run):
    used = {"width": 1, "layers": 0, "heads": 0, "feed_forward": 0, "pre_norm": False} | ADAPTERS[kind]
    assert identity._used(tiny_run(kind))["adapter"] == used


def test_stored_records_have_the_adapter_that_goes_into_their_digest(tiny_run):
    seen = set()
    for file in RECORDS:
        if not (stored := json.loads(file.read_text())["config"]["adapter"]):
            continue
        stored = {key: value for key, value in stored.items() if value is not None}
        settings = {key: value for key, value in stored.items() if value or key == "kind"}  # 0, False: unused
        if stored["kind"] in ("linear", "pooling"):
            del settings["width"]
        config = tiny_run().model_copy(update={"adapter": validated(**settings)})
        assert identity._used(config)["adapter"] == stored, file
        seen.add(stored["kind"])
    assert seen == identity.ONE_CLASS_KINDS
