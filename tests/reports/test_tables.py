import json
import math

import pandas as pd
import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score
from speechllm_bench.reports import tables
from speechllm_bench.schema import Prediction

GOLD = {"city": "york"}


def scored(right, n=20):
    """A score of n answers of 10 speakers, of which the first `right` are right and the others empty."""
    answers = [GOLD if i < right else {} for i in range(n)]
    rows = [
        Prediction(f"u{i}", f"u{i}", f"s{i % 10}", "slots", json.dumps(a), json.dumps(GOLD), (), 1, "york")
        for i, a in enumerate(answers)
    ]
    return score.score_slots(rows, json.loads)


def row(variant, right=None, seed=0, status="ok", **record):
    if right is None:
        return {"variant": variant, "seed": seed, "status": status, "record": None, "score": None}
    record = {
        "device_kind": "cpu",
        "precision": "fp32",
        "trained_parameters": 30_000,
        "llm_parameters": 3_000_000,
        "total_parameters": 8_000_000,
        "speech_hours": 12.5,
        "text_tokens": 900_000,
        "wall_seconds": 60.0 + seed,
    } | record
    return {"variant": variant, "seed": seed, "status": status, "record": record, "score": scored(right)}


@pytest.fixture
def rows():
    return [
        row("cnn", 5),
        row("cnn", 7, seed=1),
        row("mlp", 15),
        row("mlp", 17, seed=1),
        row("new_one", status="NOT RUN"),
    ]


def test_one_row_a_variant_with_intervals_and_paired_difference(rows):
    frame = tables.study_table(rows, "mlp", {"cnn": 0.4017}).set_index("variant")
    cnn, mlp, missing = (frame.loc[v] for v in ("cnn", "mlp", "new_one"))
    assert list(frame.index) == ["cnn", "mlp", "new_one"]
    assert cnn["recall"] == pytest.approx((5 + 7) / 40)
    assert (cnn["n"], cnn["speakers"], cnn["seeds"], cnn["llm_share"]) == (20, 10, 2, 0.01)
    assert cnn["seconds"] == 60.5
    assert cnn["difference"] == pytest.approx(cnn["f1"] - mlp["f1"])
    assert cnn["difference_low"] < cnn["difference"] < cnn["difference_high"] < 0
    assert cnn["differs"] and pd.isna(mlp["difference"])
    assert cnn["reported_f1"] == 0.4017 and pd.isna(mlp["reported_f1"])
    assert missing["status"] == "NOT RUN" and pd.isna(missing["f1"]) and pd.isna(missing["n"])


def test_there_is_no_difference_between_answers_to_other_questions(rows):
    rows.append(row("other_test_set", 9))
    rows[-1]["score"] = scored(9, n=30)
    line = tables.study_table(rows, "mlp", {}).set_index("variant").loc["other_test_set"]
    assert line["recall"] == pytest.approx(9 / 30) and pd.isna(line["difference"])


def test_failures_are_shown_and_leave_the_other_seeds(rows):
    rows += [row("new_one", 9, seed=1), row("cnn", seed=2, status="FAILED")]
    rows.append(row("big", 0) | {"status": "diverged", "score": None})
    frame = tables.study_table(rows, "mlp", {}).set_index("variant")
    assert frame.loc["cnn", "status"] == "2 ok, 1 FAILED"
    assert frame.loc["new_one", "status"] == "1 NOT RUN, 1 ok"
    assert frame.loc["new_one", "difference"] == pytest.approx(18 / 29 - 34 / 37)  # seed 1 alone
    assert frame.loc["big", "status"] == "diverged"
    assert frame.loc["big", "trained_parameters"] == 30_000 and math.isnan(frame.loc["big", "f1"])


def test_nothing_run_is_still_a_table(tmp_path):
    frame = tables.study_table([row("cnn", status="NOT RUN"), row("mlp", status="NOT RUN")], "mlp", {})
    caption = tables.caption(frame, "Adapter size", "mlp", "paper")
    paths = tables.write(frame, tmp_path, "adapter_size", caption)
    assert all("NOT RUN" in path.read_text() for path in paths)
    assert "nothing has been scored" in caption


@pytest.mark.parametrize(("key", "value"), [("device_kind", "cuda"), ("precision", "bf16")])
def test_unlike_runs_are_refused(rows, key, value):
    rows[2] = row("mlp", 15, **{key: value})
    with pytest.raises(UserError, match=f"cannot mix runs of different {key.replace('_', ' ')} .*{value}"):
        tables.study_table(rows, "mlp", {})


def test_unlike_metric_versions_are_refused(rows):
    rows[0]["score"]["versions"] = {**rows[0]["score"]["versions"], "partial_match": 2}
    with pytest.raises(UserError, match="version of partial_match"):
        tables.study_table(rows, "mlp", {})


def test_caption_says_what_the_numbers_rest_on(rows):
    frame = tables.study_table(rows, "mlp", {})
    caption = tables.caption(frame, "Adapter size", "mlp", "smoke")
    assert caption.startswith(tables.SMOKE_MARK)
    assert "n = 20 utterances of 10 speakers; seeds a variant: 2" in caption
    assert "partial match, version 1" in caption
    assert tables.SMOKE_MARK not in tables.caption(frame, "Adapter size", "mlp", "mini")


def test_three_files_are_the_same_bytes_each_time(rows, tmp_path):
    def written(folder):
        frame = tables.study_table(rows, "mlp", {"cnn": 0.4017})
        paths = tables.write(frame, folder, "adapter_size", "50 % of A_B & C")
        return {path.name: path.read_bytes() for path in paths}

    first = written(tmp_path / "a")
    assert first == written(tmp_path / "b") == written(tmp_path / "a")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(first)
    csv = pd.read_csv(tmp_path / "a" / "adapter_size.csv")
    assert list(csv["variant"]) == ["cnn", "mlp", "new_one"]
    markdown, latex = first["adapter_size.md"].decode(), first["adapter_size.tex"].decode()
    assert "| 0.459 [" in markdown and "0.402" in markdown and "NOT RUN" in markdown
    assert r"50 \% of A\_B \& C" in latex and r"\toprule" in latex and r"new\_one & NOT RUN & --" in latex


def test_paired_f1_of_two_variants(rows):
    found = tables.paired_f1(rows, "mlp", "cnn")
    assert found.value > 0.4 and found.n_seeds == 2
    assert tables.paired_f1(rows, "mlp", "new_one") is None


def test_paired_f1_beyond_another_pair(rows):
    one = tables.paired_f1(rows, "mlp", "cnn")
    assert tables.paired_f1(rows, "mlp", "cnn", ["mlp", "mlp"]).value == pytest.approx(one.value)
    assert tables.paired_f1(rows, "mlp", "cnn", ["mlp", "cnn"]).value == 0
    assert tables.paired_f1(rows, "mlp", "cnn", ["mlp", "new_one"]) is None


def test_what_an_audio_llm_heard_before_is_a_column_where_there_is_one(rows):
    before = {"pretraining_speech_hours": 150.5, "pretraining_text_tokens": 7_000_000}
    assert not set(before) & set(tables.study_table(rows, "mlp", {}).columns)
    rows.append(row("audio_llm", 9, speech_hours=6.0, **before))
    shown = tables.display(tables.study_table(rows, "mlp", {})).set_index("Variant")
    assert shown.loc["audio_llm", "Hours of speech before"] == "150.5"
    assert shown.loc["audio_llm", "Text tokens before"] == "7,000,000"
    assert shown.loc["mlp", "Hours of speech before"] == "–"
