"""Runs that mean nothing on their corpus: left out of plans with a sentence, and shown as that in tables."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from speechllm_bench import cli
from speechllm_bench.data.testable import untestable
from speechllm_bench.errors import MissingInput, NotTestable
from speechllm_bench.planning import identity, listing, studies
from speechllm_bench.reports import claims
from speechllm_bench.reports import study as reports
from speechllm_bench.settings.experiments import resolve
from speechllm_bench.storage import paths

NONE_BEFORE = "turns of context, and in 'slurp' none come before"
ESPEAK = "are spoken by a synthesiser, and the turns of"
NO_LABELS = "the turns of 'librispeech_slue' that the stage trains on have neither"
LEFT_OUT = {  # at profile paper, by study
    "sense": {NO_LABELS: {"transcription_classifier", "transcription_all"}},
    "context": {
        NONE_BEFORE: {
            *("context_1", "context_2", "context_3", "distractors_1", "distractors_5"),
            *(f"{floor}_distractors_{n}" for floor in ("whole_transcript", "chance") for n in (1, 3, 5)),
        }
    },
    "cross_lingual": {  # nobody has labelled entities in Common Voice
        "nothing in 'common_voice' has gold for ner": {
            f"{kind}_{language}"
            for kind in ("ner", "synthetic", "twice", "no_audio")
            for language in ("es", "fr")
        }
    },
    "fresh_test": {
        "'slurp' has no split C-test": {
            *(f"{system}_c" for system in ("gold", "cascade", "single", "speechllm")),
            *(f"{control}_c" for control in ("whole_transcript", "chance", "no_audio")),
        }
    },
    "multitask": {
        f"instructions of the task sqit {ESPEAK}": {
            *(f"{kind}{end}" for kind in ("sqit", "all") for end in ("", "_b_id", "_b_ood")),
            *("all_asked_sit", "sit_asked_sqit", "sqit_asked_sqit", "all_asked_sqit"),
        }
    },
}


@pytest.fixture
def without_backbones(monkeypatch):
    """Digests that rest on the configs alone, so that profile paper can be planned here."""
    monkeypatch.setattr(identity, "_surroundings", lambda config, heard: ())


def reasons(study: str, profile: str) -> dict[str, str | None]:
    loaded, scale = studies.load(study, profile)
    found = {}
    for name in loaded.variants:
        try:
            found[name] = untestable(resolve(scale, loaded.variant(name), 0))
        except MissingInput:  # no role, no labels
            continue
    return found


@pytest.mark.parametrize("study", studies.known_studies())
def test_what_means_nothing_on_the_papers_corpora_is_left_out_and_nothing_else(study):
    expected = LEFT_OUT.get(study, {})
    found = {name: why for name, why in reasons(study, "paper").items() if why}
    assert set(found) == set().union(*expected.values())
    for why, names in expected.items():
        assert all(why in found[name] for name in names)


@pytest.mark.parametrize("profile", ["smoke", "mini", "small"])
def test_the_call_centre_can_be_asked_everything(profile):
    """But for the test set that `small` alone has."""
    found = {study: {*reasons(study, profile).values()} - {None} for study in studies.known_studies()}
    unasked = set() if profile == "small" else {"'call_centre' has no split C-test"}
    assert {study: whys for study, whys in found.items() if whys} == (
        {"fresh_test": unasked} if unasked else {}
    )


def test_a_plan_tells_why_and_six_runs_of_sense_are_no_longer_offered(without_backbones, capsys):
    plan = studies.plan(["sense"], "paper")
    assert len(studies.load("sense", "paper")[0].variants) * 3 - len(plan.runs) == 6
    (told,) = plan.left_out
    assert told.startswith("Left out: sense transcription_classifier, sense transcription_all: not testable")
    assert told.endswith("have neither.") and "on this corpus: a stage's classifier learns" in told
    assert {"status": "left out", "message": told} in listing.would_run(plan)
    with pytest.raises(NotTestable, match="not testable on this corpus"):
        studies.plan(["sense"], "paper", ["transcription_all"])
    assert cli.main(["run", "context", "context_3", "--profile", "paper"]) == 3
    assert NONE_BEFORE in capsys.readouterr().err


def test_a_table_says_not_testable_and_why_and_so_do_its_claims(without_backbones, home):
    reports.write("context", "paper", draw=False)
    text = (paths.results("paper") / "tables" / "context.md").read_text("utf-8")
    frame = pd.read_csv(paths.results("paper") / "tables" / "context.csv", index_col="variant")
    assert (frame.status["context_3"], frame.status["drawn"]) == ("NOT TESTABLE", "NOT RUN")
    assert text.count("not testable on this corpus") == 1 and NONE_BEFORE in text
    study, _ = studies.load("context", "paper")
    verdicts = claims.verdicts(study, studies.records("context", "paper"))["verdict"]
    assert list(verdicts) == ["not testable here", "not testable here", "not run", "not run"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"split": "C-test"}, "'slurp' has no split C-test"),
        ({"task": "sentiment"}, "nothing in 'slurp' has gold for sentiment"),
        ({"context": 0}, None),  # what every request has
        ({"context": 1}, NONE_BEFORE),
    ],
)
def test_a_run_is_judged_by_what_it_asks(tiny_run, changes, why):
    config = tiny_run()
    config = config.model_copy(
        update={
            "corpus": SimpleNamespace(name="slurp"),
            "evaluation": config.evaluation.model_copy(update=changes),
        }
    )
    found = untestable(config)
    assert found is None if why is None else why in found
