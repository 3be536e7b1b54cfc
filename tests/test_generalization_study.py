"""The study `generalization`: what it shares with other studies, and its attempt two by two."""

from __future__ import annotations

import shutil

import pytest

from speechllm_bench.errors import MissingInput
from speechllm_bench.planning import identity, studies
from speechllm_bench.storage import paths

OTHERS = {
    "baselines": {
        **{f"{name}{end}": f"{name}{end}" for name in ("untuned", "gold", "cascade", "speechllm")
           for end in ("", "_b_id", "_b_ood")},
        "no_audio": "no_audio", "chance": "chance", "chance_b_ood": "chance_b_ood",
    },
    "foundation_model": {
        **{f"audio_llm{end}": f"audio_llm{end}" for end in ("", "_b_id", "_b_ood", "_no_audio")},
        **{f"speechllm{end}": f"composite{end}" for end in ("", "_b_id", "_b_ood")},
    },
    "context": {name: name for name in ("taught", "taught_b_ood", "taught_described_b_ood")},
}  # fmt: skip


def copied(suite, *names):
    for name in names:
        shutil.copy(paths.PROJECT / "experiments" / f"{name}.yaml", suite / "experiments")


@pytest.fixture
def planned(suite):
    """Runs at toy size by study and variant."""
    names = ["generalization", *OTHERS]
    copied(suite, *names)
    return {(r.study, r.variant): r for r in studies.plan(names, "smoke", ["all"]).runs}


def test_its_systems_are_the_very_runs_of_other_studies(planned):
    for study, names in OTHERS.items():
        for here, there in names.items():
            assert planned["generalization", here].digest == planned[study, there].digest, here


def test_it_trains_three_models_of_its_own_from_the_one_transcription(planned):
    own = {variant: run for (study, variant), run in planned.items() if study == "generalization"}
    trained = {d for (study, _), run in planned.items() if study != "generalization" for d in run.stages}
    assert len({d for run in own.values() for d in run.stages} - trained) == 3
    assert len({run.digest for run in own.values()}) == len(own)
    speech = ("speechllm", "distilled", "taught", "distilled_taught")
    assert len({own[name].stages[0] for name in speech}) == 1
    assert len({own[name].stages[1] for name in speech}) == 4
    for name in speech:
        slots = own[name].config.stages[1]
        assert (slots.distillation is not None) == name.startswith("distilled")
        assert (slots.described is not None) == name.endswith("taught")
        plain = slots.model_copy(update={"distillation": None, "described": None})
        assert plain == own["speechllm"].config.stages[1]
        for end in ("_b_id", "_b_ood"):
            assert own[name + end].stages == own[name].stages


def test_what_is_compared_is_asked_the_same(planned):
    study, _ = studies.load("generalization", "smoke")
    for claim in study.claims:
        asked = [planned["generalization", name].config.evaluation for name in (claim.better, claim.worse)]
        assert asked[0].model_copy(update={"text": asked[1].text}) == asked[1], claim.claim


def test_without_the_audio_llm_the_other_systems_have_their_records(suite, monkeypatch):
    copied(suite, "generalization")

    def missing(config, heard):
        if config.audio_llm:
            raise MissingInput("backbone 'audio' is missing")
        return ()

    monkeypatch.setattr(identity, "_surroundings", missing)
    rows = {row["variant"]: row for row in studies.records("generalization", "smoke")}
    assert {name for name, row in rows.items() if row["run"] is None} == {
        f"audio_llm{end}" for end in ("", "_b_id", "_b_ood", "_no_audio")
    }
    assert {row["status"] for row in rows.values()} == {"NOT RUN"}
    assert studies.plan(["generalization"], "smoke").left_out == ()  # the telling ones
    every = studies.plan(["generalization"], "smoke", ["all"])
    assert not any(run.config.audio_llm for run in every.runs) and len(every.runs) == len(rows) - 4
    assert every.left_out[0].startswith("Left out: generalization audio_llm, ")
    assert every.left_out[0].endswith(": backbone 'audio' is missing.")
    with pytest.raises(MissingInput):
        studies.plan(["generalization"], "smoke", ["audio_llm"])
