import json

import numpy as np
import pytest
from scored_answers import claiming

from speechllm_bench.evaluation import score, versions
from speechllm_bench.planning import studies
from speechllm_bench.reports import claims, measured
from speechllm_bench.reports.claims import BELOW_FLOOR, verdict, verdict_on_divergence
from speechllm_bench.settings.reported import ClaimConfig
from speechllm_bench.storage.schema import Interval, Prediction


def difference(low, value, high, seeds=3, speakers=30):
    return Interval(value, low, high, 200, speakers, seeds)


@pytest.mark.parametrize(
    ("found", "p", "said"),
    [
        (None, 1, "not run"),
        (difference(0.05, 0.1, 0.15), 0.001, "agrees"),
        (difference(-0.15, -0.1, -0.05), 0.001, "disagrees"),
        (difference(0.02, 0.1, 0.15), 0.06, "inconclusive"),  # does not survive Holm
        (difference(0.01, 0.02, 0.03), 0.001, "no difference"),  # sure, and too small to matter
        (difference(-0.04, 0.0, 0.04), 1, "no difference"),
        (difference(0.0, 0.0, 0.0), 1, "no difference"),
        (difference(0.01, 0.04, 0.07), 0.01, "weak support"),  # sure, but under 0.05
        (difference(-0.07, -0.04, -0.01), 0.01, "weak contradiction"),
        (difference(-0.01, 0.04, 0.09), 0.1, "inconclusive"),
        (difference(-0.01, 0.1, 0.2), 0.1, "inconclusive"),
        (difference(0.05, 0.1, 0.15, seeds=1), 0.001, "weak support"),  # one seed says no more
        (difference(-0.15, -0.1, -0.05, seeds=1), 0.001, "weak contradiction"),
        (difference(-0.03, -0.02, -0.01, seeds=1), 0.001, "no difference"),
        (difference(0.1, 0.1, 0.1, speakers=1), 0.001, "inconclusive"),  # one speaker has no interval
    ],
)
def test_rule_14(found, p, said):
    assert verdict(found, p) == said


def test_a_scale_that_was_not_run_is_said_first():
    assert verdict(None, 1, testable=False) == "not testable here"
    assert verdict(difference(0.05, 0.1, 0.15), 0.001, testable=False) == "not testable here"


def test_nothing_is_claimed_below_the_floor():
    assert verdict(difference(0.05, 0.1, 0.15), 0.001, above_floors=False) == BELOW_FLOOR
    assert verdict(None, 1, above_floors=False) == "not run"


@pytest.mark.parametrize(
    ("better", "worse", "said"),
    [
        (0, 3, "agrees"),
        (0, 1, "weak support"),
        (2, 0, "disagrees"),
        (1, 0, "weak contradiction"),
        (1, 3, "inconclusive"),
    ],
)
def test_a_variant_that_diverges_is_behind_one_that_does_not(better, worse, said):
    assert verdict_on_divergence(better, worse) == said


def row(variant: str, *said: str) -> dict:
    """A run at `small` that answers each speaker's two questions about "three nine" by `said`, in turn."""
    gold, *raw = (json.dumps({"code": value}) for value in ("three nine", *said))
    raw = [text if value else "" for text, value in zip(raw, said, strict=True)]  # "" cannot be parsed
    answers = [
        Prediction(
            *(f"e{i}", f"u{i}", f"s{i % 10}", "slots", raw[i // 10 % len(raw)], gold, ("code",), 3),
            "it is three nine",
        )
        for i in range(20)
    ]
    found = versions.shown(score.score_task("slots", answers), "small")
    return {"variant": variant, "seed": 0, "status": "ok", "record": None, "score": found, "profile": "small"}


@pytest.mark.parametrize(
    ("ahead", "behind", "said"),
    [("39", "three", "F1, version 1; SLU-F1"), ("three nine", "three", ""), ("39", "three nine", "")],
)
def test_scores_that_say_the_opposite_are_named(ahead, behind, said):
    """Version 2 alone takes digits for the words; by a score without a difference nothing is reversed."""
    entry = ClaimConfig(claim="It is ahead.", source="ours", better="cascade", worse="speechllm")
    rows = [row("cascade", ahead), row("speechllm", behind)]
    found = claims.verdicts(claiming([entry]), rows)
    assert found["reversed_by"].tolist() == [said]
    assert ("reversed by" in claims.show_verdicts(found)) == bool(said)
    assert (claims.REVERSED_BY in claims.caption(found)) == bool(said)


def test_a_score_of_another_unit_reverses_nothing():
    """One answer in two is right and the other cannot be parsed, beside answers that are all wrong."""
    entry = ClaimConfig(claim="It is ahead.", source="ours", better="cascade", worse="speechllm")
    rows = [row("cascade", "three nine", ""), row("speechllm", "no")]
    found = claims.verdicts(claiming([entry]), rows)
    assert found["low"][0] > 0 and found["reversed_by"].tolist() == [""]
    more = measured.gain(rows, "cascade", "speechllm", metric="parse_failures")
    assert more.high < 0  # fewer answers of the other fail


def test_p_is_corrected_over_the_claims_that_can_be_tested():
    """A claim of a scale that was not run is no test, so it does not raise the p of another."""
    about = {"claim": "It is ahead.", "source": "ours", "better": "cascade", "worse": "speechllm"}
    here, at_8_b = ClaimConfig(**about), ClaimConfig(**about, scale="8 B")
    rows = [row("cascade", "three nine"), row("speechllm", "three")]
    alone, beside, twice = (
        claims.verdicts(claiming(some), rows)["p"].tolist() for some in ([here], [here, at_8_b], [here, here])
    )
    assert beside[0] == alone[0] and np.isnan(beside[1])
    assert twice == [2 * alone[0]] * 2


def test_a_difference_of_differences_is_inconclusive_where_a_variant_diverged():
    """Which of the two differences would be larger is not known, whoever is ahead within one of them."""
    entry = ClaimConfig(claim="It gains more.", source="ours", better="a", worse="b", beyond=["c", "d"])
    rows = [
        {"variant": name, "seed": 0, "status": "ok", "record": {"seed": 0}, "score": None, "profile": "small"}
        for name in "abcd"
    ]
    rows[1]["status"] = "diverged"
    found = claims.verdicts(claiming([entry]), rows)
    assert found["diverged"].tolist() == ["b diverged on 1"] and found["verdict"].tolist() == ["inconclusive"]


def test_a_claim_on_wer_names_its_variants_as_they_are_subtracted():
    """Lower is better there, so that a difference above 0 is the worse variant less the better one."""
    study = studies.load("sense", "mini")[0]
    compared = {claim.better: study.compared(claim) for claim in study.claims}
    assert compared["transcription_lora"] == "transcription − transcription_lora"
    assert compared["ner_lora"] == "ner_lora − ner"
