"""Profiles are files of a folder, and one may extend another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from speechllm_bench.errors import UserError
from speechllm_bench.planning import identity, studies
from speechllm_bench.settings import experiments, profiles
from speechllm_bench.storage import paths

DIGESTS = json.loads(Path(__file__).with_name("config_digests.json").read_text())
"""By profile, study and variant: digest of the config of seed 0, as it was before profiles could extend."""


def write(suite, name, **content):
    path = suite / "experiments" / "profiles" / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"profile": name} | content))
    return path


def refused(path):
    with pytest.raises(UserError) as error:
        profiles.load_profile(path)
    return str(error.value)


@pytest.mark.parametrize("profile", DIGESTS)
def test_every_variant_has_the_config_that_its_stored_runs_had(profile, monkeypatch):
    monkeypatch.setattr(identity, "_surroundings", lambda config, heard: ())  # configs alone
    scale, found = studies.profile_named(profile), {}
    for name, known in DIGESTS[profile].items():
        study = experiments.load_study(paths.EXPERIMENTS / f"{name}.yaml")
        own = scale.of(study.paper)
        configs = {v: experiments.resolve(own, study.variant(v), 0) for v in known if v in study.variants}
        found[name] = {variant: identity.run_digest(config) for variant, config in configs.items()}
    assert found == DIGESTS[profile]


def test_an_extension_says_what_is_other_and_has_the_rest(suite):
    path = write(suite, "mine", extend="mini", lora={"rank": 9}, seeds=[5])
    mine, mini = profiles.load_profile(path), studies.profile_named("mini")
    changed = {"profile": "mine", "lora": mini.lora.model_copy(update={"rank": 9}), "seeds": [5]}
    assert mine == mini.model_copy(update=changed) and mini.seeds == [0, 1]
    assert profiles.known_profiles() == ["mine", "mini", "paper", "smoke"]
    assert studies.plan(["adapter_size"], "mine").profile == mine


def test_blocks_of_papers_are_extended_too(suite):
    base = suite / "experiments" / "profiles" / "mini.yaml"
    training = yaml.safe_load(base.read_text())["training"]
    own = {"papers": {"2510.15851": {"llm": "zoo/other", "training": training | {"lr": 0.5}}}}
    base.write_text(yaml.safe_dump(yaml.safe_load(base.read_text()) | own))
    write(suite, "mine", extend="mini", papers={"2510.15851": {"training": {"evaluations": 1}}})
    seen = studies.load("adapter_size", "mine")[1]
    assert (seen.llm, seen.training.lr, seen.training.evaluations) == ("zoo/other", 0.5, 1)


def test_an_adapter_of_another_kind_takes_nothing_over(suite):
    path = write(suite, "mine", extend="mini", adapters={"mlp": {"kind": "cnn", "width": 8}})
    assert profiles.load_profile(path).adapters["mlp"] == profiles.load_profile(path).adapters["cnn"]


def test_a_hidden_file_is_no_profile_and_can_be_extended(suite):
    whole = yaml.safe_load(profiles.profile_file("mini").read_text())
    del whole["profile"], whole["seeds"]
    folder = suite / "experiments" / "profiles"
    (folder / "_shared.yaml").write_text(yaml.safe_dump(whole))
    path = write(suite, "mine", extend="_shared", seeds=[7])
    assert profiles.load_profile(path).seeds == [7]
    assert "_shared" not in profiles.known_profiles()
    with pytest.raises(UserError, match="there is no profile '_shared'; the profiles are: mine, mini,"):
        studies.profile_named("_shared")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"extend": "big"}, "mine.yaml extends 'big', which is no profile; the profiles are: mine, mini"),
        ({"extend": ["mini"]}, "mine.yaml extends ['mini'], which is no profile"),
        ({"extend": "mine"}, "mine.yaml extends itself: mine.yaml extends mine.yaml"),
        ({"extend": "mini", "lora": {"rnk": 9}},
         "mine.yaml, which extends mini.yaml: unknown key 'lora.rnk' (value 9); allowed here: rank, alpha"),
        ({"extend": "mini", "profile": "mini"}, "mine.yaml calls its profile 'mini'; both need the same"),
    ],
)  # fmt: skip
def test_an_extension_that_cannot_be_is_refused(suite, content, told):
    assert refused(write(suite, "mine", **content)).startswith(told)


def test_a_circle_of_extensions_is_refused(suite):
    write(suite, "one", extend="two")
    path = write(suite, "two", extend="one")
    assert refused(path) == "one.yaml extends itself: two.yaml extends one.yaml extends two.yaml"


def test_a_role_is_known_as_soon_as_a_profile_has_it(suite):
    with pytest.raises(UserError, match="no profile has under llms"):
        profiles.refuse_unknown_role("llms", "large", "variant 'mlp'")
    write(suite, "mine", extend="mini", llms={"large": "zoo/other"})
    profiles.refuse_unknown_role("llms", "large", "variant 'mlp'")
