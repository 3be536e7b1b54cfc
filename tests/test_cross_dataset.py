"""A test set of another corpus than the one that is trained on."""

from __future__ import annotations

import json

import pytest
import yaml

from speechllm_bench.cite.comparing import answers_of
from speechllm_bench.data.testable import untestable
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.planning import identity, studies
from speechllm_bench.settings import profiles
from speechllm_bench.settings.config import CorpusConfig, EvaluationConfig
from speechllm_bench.settings.evaluation_config import questions_of
from speechllm_bench.settings.experiments import load_study, resolve
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Prediction

OTHER = CorpusConfig(name="call_centre_neural", sizes={"A-test": 5})


@pytest.fixture
def study():
    return load_study(paths.EXPERIMENTS / "cross_dataset.yaml")


@pytest.fixture
def paper():
    return profiles.load_profile(paths.EXPERIMENTS / "profiles" / "paper.yaml")


@pytest.fixture
def configs_alone(monkeypatch):
    monkeypatch.setattr(identity, "_surroundings", lambda config, heard: ())
    monkeypatch.setattr(identity.corpora, "recipe", lambda name: {"corpus": name})


def test_one_training_serves_every_test_set(study, paper, configs_alone):
    own, harper, fluent = (
        resolve(paper, study.variant(f"slurp_{test}"), 0) for test in ("slurp", "harper", "fluent")
    )
    assert len({identity.run_digest(config) for config in (own, harper, fluent)}) == 3
    for stage in range(2):
        assert len({identity.stage_digest(config, stage) for config in (own, harper, fluent)}) == 1
    other = resolve(paper, study.variant("harper_harper"), 0)
    assert identity.stage_digest(other, 0) != identity.stage_digest(own, 0)
    assert identity.components(harper)["recipe of corpus harper_valley"]


def test_a_run_without_another_corpus_is_what_it_was(tiny_run, configs_alone):
    config = tiny_run()
    assert "corpus" not in identity._used(config)["evaluation"]
    other = config.evaluation.model_copy(update={"corpus": OTHER})
    assert identity.run_digest(config) != identity.run_digest(config.model_copy(update={"evaluation": other}))


def test_frames_are_of_each_corpus(tiny_run, monkeypatch):
    config = tiny_run()
    monkeypatch.setattr(identity.corpora, "recipe", lambda name: {"corpus": name})
    assert identity.frames_digest(config) == identity.frames_digest(config, config.corpus)
    assert identity.frames_digest(config, OTHER) != identity.frames_digest(config)


def test_floors_are_those_of_the_same_test_set(study, paper):
    asked = {name: resolve(paper, study.variant(name), 0).evaluation for name in study.variants}
    same = questions_of(asked["harper_harper_whole_transcript"])
    assert questions_of(asked["slurp_harper"]) == questions_of(asked["harper_harper"]) == same
    assert questions_of(asked["slurp_slurp"]) != same
    chosen = study.chosen(["extremes"])
    assert {"slurp_slurp_whole_transcript", "harper_harper_chance"} < set(chosen)
    assert "fluent_fluent_chance" not in chosen


def test_what_the_tested_corpus_lacks_is_told_of_it(tiny_run):
    def asked(**changes):
        config = tiny_run()
        evaluation = config.evaluation.model_copy(update=changes)
        return untestable(config.model_copy(update={"evaluation": evaluation}))

    slurp = CorpusConfig(name="slurp")
    assert asked(corpus=slurp) is None
    assert asked(corpus=slurp, context=2).startswith("the run shows turns of context, and in 'slurp'")
    assert asked(corpus=slurp, task="sentiment") == "nothing in 'slurp' has gold for sentiment"
    assert asked(corpus=CorpusConfig(name="common_voice")) == "'common_voice' has no split A-test"


def test_other_languages_are_peoples_where_the_profile_has_them(paper):
    study, scale = studies.load("cross_lingual", "paper")
    config = resolve(scale, study.variant("transcription_es"), 0)
    assert config.evaluation.corpus.name == "common_voice" and untestable(config) is None
    study, scale = studies.load("cross_lingual", "mini")
    assert resolve(scale, study.variant("transcription_es"), 0).evaluation.corpus is None


def test_a_recogniser_is_not_asked_of_another_corpus(tiny_run):
    asked = EvaluationConfig(split="A-test", batch_size=1, max_new_tokens=1, text="asr", corpus=OTHER)
    with pytest.raises(ValueError, match="text: asr is of the run's own corpus"):
        tiny_run().model_validate(
            tiny_run().model_dump() | {"adapter": None, "stages": [], "evaluation": asked}
        )


def test_a_missing_role_leaves_out_and_a_misspelt_one_is_refused(suite):
    file = suite / "experiments" / "adapter_size.yaml"
    content = yaml.safe_load(file.read_text())
    content["variants"]["mlp"] = {"evaluation": {"corpus": "harper"}, "adapter": "mlp"}
    file.write_text(yaml.safe_dump(content))
    profile = suite / "experiments" / "profiles" / "paper.yaml"
    profile.write_text(profile.read_text() + "corpora: {harper: {name: harper_valley}}\n")
    with pytest.raises(MissingInput, match="names no corpus for the role 'harper'; it names none"):
        studies.plan(["adapter_size"], "smoke", ["mlp"])
    content["variants"]["mlp"]["evaluation"]["corpus"] = "harpr"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="names the role 'harpr', which no profile has under corpora"):
        studies.plan(["adapter_size"], "smoke", ["mlp"])


def test_slices_are_of_the_slots_of_the_tested_corpus(study, paper):
    """Slots of one corpus are unknown to the other, so their class is too."""
    config = resolve(paper, study.variant("slurp_harper"), 0)
    assert (config.corpus.name, config.tested.name) == ("slurp", "harper_valley")
    gold = json.dumps({"caller_name": "ann"})
    said = Prediction("e", "u", "s", "slots", gold, gold, ("caller_name",), 3, "i am ann")
    assert "class=open" in answers_of([said], config.as_stored(), "paper").counts
