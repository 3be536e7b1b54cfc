"""Floors: which rows are whose, who clears them, and where they stand."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from scored_answers import claiming
from test_tables import row

from speechllm_bench import stats
from speechllm_bench.evaluation import score
from speechllm_bench.reports import claims, figures, floors, measured, sizes, tables
from speechllm_bench.settings.evaluation_config import EvaluationConfig
from speechllm_bench.settings.experiments import load_study
from speechllm_bench.settings.reported import ClaimConfig
from speechllm_bench.storage import paths
from speechllm_bench.tasks import TASKS


def asked(variant, right, seed=0, **evaluation):
    """A row with `right` of 20 answers right, evaluated so."""
    evaluation = EvaluationConfig(**{"split": "A-test", "batch_size": 1, "max_new_tokens": 1} | evaluation)
    made = row(variant, right, seed) | {"profile": "mini"}
    return made | {
        "run": SimpleNamespace(config=SimpleNamespace(evaluation=evaluation, stages=()), stages=())
    }


@pytest.fixture
def rows():
    return [
        asked("mlp", 15),
        asked("cnn", 5),
        asked("no_audio", 1, audio="other"),
        asked("mlp_b_ood", 9, split="B-test", slot_types="out_of_domain"),
        asked("whole_transcript", 4, answerer="whole_transcript"),
        asked("chance", 2, answerer="chance_copier"),
    ]


def test_a_floor_is_of_the_same_questions_alone(rows):
    assert floors.of(rows, "mlp") == ["whole_transcript", "chance"]
    assert floors.of(rows, "mlp_b_ood") == [] == floors.of(rows, "chance")
    assert floors.named(rows, "chance") == "F1, A-test" and floors.named(rows, "mlp") is None
    assert floors.named(rows, "no_audio") == "SLU-F1, A-test"
    few = [*rows, asked("one", 9, distractors=1), asked("c1", 3, answerer="chance_copier", distractors=1)]
    assert floors.of(few, "one") == ["c1"] and floors.named(few, "c1") == "F1, A-test, 1 distractor"


def test_who_clears_the_floors(rows):
    assert floors.cleared(rows, "mlp") == {"whole_transcript": True, "chance": True}
    assert floors.cleared(rows, "cnn")["whole_transcript"] is False  # 5 and 4 of 20 is no difference
    assert (floors.above(rows, "mlp"), floors.above(rows, "cnn")) == (True, False)
    assert floors.above(rows, "mlp_b_ood") is None  # it has none
    rows[4] |= {"status": "NOT RUN", "record": None, "score": None}
    assert floors.cleared(rows, "mlp") == {"whole_transcript": None, "chance": True}


def test_the_table_marks_rows_below_and_the_caption_names_the_floors(rows):
    frame = measured.study_table(rows, "mlp", {})
    assert frame.set_index("variant")["above_floors"].dropna().to_dict() == {
        **{"mlp": True, "cnn": False, "no_audio": False}
    }
    shown = tables.display(frame).set_index("Variant")["F1"]
    assert floors.BELOW in shown["cnn"] and floors.BELOW not in shown["mlp"]
    caption = tables.caption(frame, "T", "mlp", "mini")
    slu = frame.set_index("variant").loc["no_audio", "slu_f1"]
    f1 = frame.set_index("variant")["f1"]
    assert f"Floor of SLU-F1 on A-test: no audio {slu:.3f}." in caption
    assert (
        f"Floors of F1 on A-test: whole transcript {f1['whole_transcript']:.3f}, chance {f1['chance']:.3f}."
        in caption
    )
    assert "‡ marks the 2 of 3 rows that are not above the floors of F1." in caption
    one = tables.caption(frame[frame["variant"] != "no_audio"], "T", "mlp", "mini")
    assert "‡ marks the 1 of 2 rows that is not above" in one
    assert "‡" not in tables.caption(frame[frame["variant"] == "mlp"], "T", "mlp", "mini")
    named = floors.called(load_study(paths.EXPERIMENTS / "baselines.yaml"))
    assert [named[name] for name in ("no_audio", "chance_b_ood")] == ["wrong audio", "chance copier"]
    rows[4] |= {"status": "NOT RUN", "record": None, "score": None}
    assert "whole transcript NOT RUN" in tables.caption(
        measured.study_table(rows, "mlp", {}), "T", "mlp", "mini"
    )


def test_a_claim_is_not_testable_here_where_the_side_ahead_is_below(rows):
    def judged(better, worse):
        entry = ClaimConfig(claim="It helps.", source="ours", better=better, worse=worse)
        return claims.verdicts(claiming([entry]), rows).iloc[0]

    found = judged("cnn", "no_audio")
    assert (found["verdict"], found["below"]) == (claims.BELOW_FLOOR, "whole_transcript, chance")
    assert judged("mlp", "cnn")["verdict"] == "weak support"  # one seed
    contradicted = judged("cnn", "mlp")  # the mlp is ahead and above: the claim is tested, and fails
    assert (contradicted["verdict"], contradicted["below"]) == ("weak contradiction", "")
    assert judged("no_audio", "cnn")["verdict"] == claims.BELOW_FLOOR
    gains = ClaimConfig(claim="C", source="ours", better="cnn", worse="no_audio", beyond=["mlp", "no_audio"])
    (of_gains,) = claims.verdicts(claiming([gains]), rows)["verdict"]
    assert of_gains == "weak contradiction"  # the mlp gains more, and is above


def test_a_claim_on_two_sides_with_nothing_right_is_below_the_floor():
    rows = [asked("one", 0), asked("two", 0), asked("three", 9)]  # on questions without a floor in the study

    def judged(better, worse):
        entry = ClaimConfig(claim="It helps.", source="ours", better=better, worse=worse)
        return claims.verdicts(claiming([entry]), rows).iloc[0]

    found = judged("one", "two")
    assert (found["verdict"], found["below"]) == (claims.BELOW_FLOOR, claims.EMPTY_ANSWER)
    assert judged("one", "three")["verdict"] == "weak contradiction"


def test_holm_counts_the_claims_that_can_be_tested(rows):
    pairs = [("mlp", "cnn"), ("mlp", "no_audio"), ("mlp", "missing")]
    entries = [ClaimConfig(claim="C", source="ours", better=a, worse=b) for a, b in pairs]
    found = claims.verdicts(claiming([*entries, entries[0].model_copy(update={"scale": "8 B"})]), rows)
    first, second = (measured.gain(rows, better, worse).p for better, worse in pairs[:2])
    assert found["p"].tolist()[:2] == stats.holm([first, second])
    assert found["p"][0] == pytest.approx(max(first, 2 * second)) or found["p"][0] == 2 * first
    assert found["p"].isna().tolist() == [False, False, True, True]
    shown = claims.show_verdicts(found)
    assert shown["verdict"].tolist()[2:] == ["not run", "not testable here"]
    assert claims.caption(found).startswith(claims.CAPTION)
    assert claims.caption(found[2:3]).startswith(claims.NONE_TESTED)
    assert "†" in shown["difference"][0]  # one seed


def test_figures_have_a_line_a_floor(rows):
    figure, (left, right) = figures.panels(2, "page")
    floors.draw(left, rows)
    drawn = {line.get_label(): line.get_ydata()[0] for line in left.lines}
    whole = score.interval([rows[4]["score"]], "f1").value
    assert drawn["floor: whole transcript"] == pytest.approx(whole) and len(drawn) == 2
    floors.draw_on_validation(right, rows)
    assert [line.get_label() for line in right.lines] == [f"{label}, on A-test" for label in drawn]
    right.clear()
    validated = [*rows, asked("v", 3, answerer="chance_copier", split="validation")]
    floors.draw_on_validation(right, validated)
    assert [line.get_label() for line in right.lines] == ["floor: chance copier"]
    right.clear()
    frame = measured.study_table(rows, "mlp", {})
    answerers = {row["variant"]: row["run"].config.evaluation.answerer for row in rows}
    floors.draw_of_table(right, frame, answerers)
    assert {line.get_label() for line in right.lines} == set(drawn)
    floors.draw_of_table(right, pd.DataFrame({"variant": []}), {})  # a table without floors
    assert len(right.lines) == 2
    plt.close(figure)


def test_levels_stand_over_the_floors_of_their_number_of_distractors():
    rows = [asked(f"context_{c}", 10 + c, context=c, distractors=3) for c in (0, 2)]
    rows += [asked(f"distractors_{d}", 18 - d, context=2, distractors=d) for d in (5, 1)]
    rows += [asked(f"w_{d}", 8 - d, answerer="whole_transcript", distractors=d) for d in (1, 3, 5)]
    rows.append(asked("whole", 2, answerer="whole_transcript"))  # of a number that is drawn
    left, right = (
        [line for line in ax.lines if line.get_label() == "floor: whole transcript"]
        for ax in sizes.levels_figure(rows).axes
    )
    f1 = {row["variant"]: score.interval([row["score"]], "f1").value for row in rows}
    assert [line.get_ydata()[0] for line in left] == [pytest.approx(f1["w_3"])]
    (over,) = right
    assert list(over.get_xdata()) == [1, 3, 5]
    assert list(over.get_ydata()) == pytest.approx([f1["w_1"], f1["w_3"], f1["w_5"]])
    plt.close("all")


@pytest.mark.parametrize("file", sorted(paths.EXPERIMENTS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_slot_study_has_both_floors_of_all_its_questions(file):
    found = load_study(file)
    wanted, there = set(), set()
    for name in found.variants:
        evaluation = found.variant(name).evaluation
        if TASKS[evaluation.task].main.name == "f1":
            put = (evaluation.split, evaluation.slot_types, evaluation.distractors)
            if evaluation.answerer == "model":
                wanted |= {(*put, "chance_copier"), (*put, "whole_transcript")}
            else:
                there.add((*put, evaluation.answerer))
    assert wanted == there


def test_a_short_run_of_a_study_has_its_floors():
    found = load_study(paths.EXPERIMENTS / "adapter_size.yaml")
    assert found.chosen(["extremes"]) == ["mlp", "no_audio", "chance", "whole_transcript"]
    assert found.chosen(["mlp"]) == ["mlp"]  # what is named alone is run alone
    other = load_study(paths.EXPERIMENTS / "sense.yaml")
    assert other.chosen(["extremes"]) == ["ner", "ner_all"]


@pytest.mark.parametrize(("right", "said"), [(1, claims.BELOW_FLOOR), (15, "agrees")])
def test_a_variant_that_did_not_diverge_is_ahead_only_above_its_floors(right, said):
    floor = {"answerer": "whole_transcript"}
    rows = [asked("half", right, seed) for seed in (0, 1)]
    rows += [asked("whole_transcript", 4, seed, **floor) for seed in (0, 1)]
    rows += [asked("full", 5, seed) | {"status": "diverged", "score": None} for seed in (0, 1)]
    entry = ClaimConfig(claim="It ends higher.", source="ours", better="half", worse="full")
    found = claims.verdicts(claiming([entry]), rows).iloc[0]
    assert (found["verdict"], found["diverged"]) == (said, "full diverged on 2")
