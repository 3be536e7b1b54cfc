import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score, versions
from speechllm_bench.reports import measured, tables
from speechllm_bench.storage.schema import Prediction

GOLD = {"city": "york"}


def scored(right, n=20):
    """A score of n answers of 10 speakers, of which the first `right` are right and the others empty."""
    answers = [GOLD if i < right else {} for i in range(n)]
    rows = [
        Prediction(f"u{i}", f"u{i}", f"s{i % 10}", "slots", json.dumps(a), json.dumps(GOLD), (), 1, "york")
        for i, a in enumerate(answers)
    ]
    return score.score_task("slots", rows, json.loads)


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
    frame = measured.study_table(rows, "mlp", {"cnn": 0.4017}).set_index("variant")
    cnn, mlp, missing = (frame.loc[v] for v in ("cnn", "mlp", "new_one"))
    assert list(frame.index) == ["cnn", "mlp", "new_one"]
    assert cnn["recall"] == pytest.approx((5 + 7) / 40)
    assert (cnn["n"], cnn["speakers"], cnn["seeds"], cnn["llm_share"]) == (20, 10, 2, 0.01)
    assert cnn["seconds"] == 60.5
    assert cnn["difference"] == pytest.approx(cnn["f1"] - mlp["f1"])
    assert cnn["difference_low"] < cnn["difference"] < cnn["difference_high"] < 0
    assert cnn["differs"] and pd.isna(mlp["difference"])
    assert cnn["reported"] == 0.4017 and pd.isna(mlp["reported"])
    assert missing["status"] == "NOT RUN" and pd.isna(missing["f1"]) and pd.isna(missing["n"])


def test_there_is_no_difference_between_answers_to_other_questions(rows):
    rows.append(row("other_test_set", 9))
    rows[-1]["score"] = scored(9, n=30)
    line = measured.study_table(rows, "mlp", {}).set_index("variant").loc["other_test_set"]
    assert line["recall"] == pytest.approx(9 / 30) and pd.isna(line["difference"])


def test_failures_are_shown_and_leave_the_other_seeds(rows):
    rows += [row("new_one", 9, seed=1), row("cnn", seed=2, status="FAILED")]
    rows.append(row("big", 0) | {"status": "diverged", "score": None})
    frame = measured.study_table(rows, "mlp", {}).set_index("variant")
    assert frame.loc["cnn", "status"] == "2 ok, 1 FAILED"
    assert frame.loc["new_one", "status"] == "1 NOT RUN, 1 ok"
    assert frame.loc["new_one", "difference"] == pytest.approx(18 / 29 - 34 / 37)  # seed 1 alone
    assert frame.loc["big", "status"] == "diverged"
    assert frame.loc["big", "trained_parameters"] == 30_000 and math.isnan(frame.loc["big", "f1"])


@pytest.mark.parametrize(("learns", "after"), [(["adapter"], 2_000), (["adapter", "lora"], 30_000)])
def test_what_was_trained_after_reading_has_a_column(rows, learns, after):
    assert tables.AFTER_READING not in measured.study_table(rows, "mlp", {})
    stages = [SimpleNamespace(reads=True, train=["lora"]), SimpleNamespace(reads=None, train=learns)]
    read = row("read", 9, adapter_parameters=2_000, classifier_parameters=0)
    read["run"] = SimpleNamespace(config=SimpleNamespace(stages=stages))
    assert measured._cost([read])[tables.AFTER_READING] == after
    assert measured._cost([rows[0]])[tables.AFTER_READING] is None


def test_nothing_run_is_still_a_table(tmp_path):
    frame = measured.study_table([row("cnn", status="NOT RUN"), row("mlp", status="NOT RUN")], "mlp", {})
    caption = tables.caption(frame, "Adapter size", "mlp", "paper")
    paths = tables.write(frame, tmp_path, "adapter_size", caption)
    assert all("NOT RUN" in path.read_text() for path in paths)
    assert "nothing has been scored" in caption


def test_a_caption_tells_how_many_recordings_a_corpus_is_without(rows, tmp_path):
    whole = tables.caption(measured.study_table(rows, "mlp", {}), "Adapter size", "mlp", "paper")
    assert "Left out" not in whole
    for of_run, ids in ((rows[0], ["a"]), (rows[1], ["a"]), (rows[2], ["a", "b"])):
        of_run["record"]["data"] = {"excluded": ids}
    frame = measured.study_table(rows, "mlp", {})
    told = "The corpus lacks 1 to 2 recordings that cannot be read."
    caption = tables.caption(frame, "Adapter size", "mlp", "paper")
    assert told in caption and told in tables.heading(frame, "Adapter size", "paper")
    csv, *shown = (path.read_text() for path in tables.write(frame, tmp_path, "adapter_size", caption))
    assert [line.split(",")[-1] for line in csv.splitlines()] == ["excluded", "1", "2", ""]
    assert not any("excluded" in text for text in shown)


@pytest.mark.parametrize(("key", "value"), [("device_kind", "cuda"), ("precision", "bf16")])
def test_unlike_runs_are_refused(rows, key, value):
    rows[2] = row("mlp", 15, **{key: value})
    told = "delete the folders" if key == "device_kind" else "give the study's variants one precision"
    said = f"cannot mix runs of different {key.replace('_', ' ')} .*{value}.*{told}"
    with pytest.raises(UserError, match=said):
        measured.study_table(rows, "mlp", {})


@pytest.mark.parametrize("what", ["partial_match", "task slots"])
def test_unlike_versions_of_metric_or_task_are_refused(rows, what):
    for i in (0, 1):
        rows[i]["score"]["versions"] = {**rows[i]["score"]["versions"], what: 2 + i}
    remedy = "raise NUMERICS_VERSION" if what == "task slots" else "renew the older scores by .*rescore"
    with pytest.raises(UserError, match=f"version of {what}.*{remedy}"):
        measured.study_table(rows, "mlp", {})


def test_a_profile_that_shows_version_2_says_so_and_has_version_1_beside(rows, tmp_path):
    older = measured.study_table(rows, "mlp", {})
    assert not [column for column in older if column.startswith("f1_v")]
    for one in rows:
        one["score"] = one["score"] and versions.shown(one["score"], "paper")
    frame = measured.study_table(rows, "mlp", {})
    assert frame["f1"].tolist()[:2] == frame["f1_v1"].tolist()[:2] == older["f1"].tolist()[:2]
    assert pd.isna(frame["f1_v1"].iloc[2])
    assert frame["partial_match_version"].dropna().unique().tolist() == [2]
    caption = tables.caption(frame, "Adapter size", "mlp", "paper")
    assert "partial match, version 2" in caption and "version 1" not in caption
    assert "F1, version 1" in tables.display(frame) and "F1, version 1" not in tables.display(older)
    rows[0]["score"] = scored(5)
    with pytest.raises(UserError, match=r"version of partial_match \(1, 2\)"):
        measured.study_table(rows, "mlp", {})


def test_a_digit_error_rate_has_a_column_where_all_scores_of_a_variant_have_it():
    def transcribed(variant, raw):
        said = [Prediction("u", "u", "s", "transcription", raw, "two four", (), 1, "two four")]
        return row(variant, 1) | {"score": score.score_task("transcription", said)}

    rows = [transcribed("cnn", "2 5"), transcribed("mlp", "24")]
    frame = measured.study_table(rows, "mlp", {}, tasks=("transcription",))
    assert frame["digit_error_rate"].tolist() == [0.5, 0]
    assert "Digit error rate: edits" in " ".join(tables.how(frame))
    del rows[0]["score"]["metrics"]["digit_error_rate"]  # stored before there was one
    frame = measured.study_table(rows, "mlp", {}, tasks=("transcription",))
    assert pd.isna(frame["digit_error_rate"][0]) and frame["digit_error_rate"][1] == 0
    del rows[1]["score"]["metrics"]["digit_error_rate"]
    frame = measured.study_table(rows, "mlp", {}, tasks=("transcription",))
    assert "digit_error_rate" not in frame and "Digit" not in " ".join(tables.how(frame))


def test_caption_says_what_the_numbers_rest_on(rows):
    frame = measured.study_table(rows, "mlp", {})
    caption = tables.caption(frame, "Adapter size", "mlp", "smoke")
    assert caption.startswith(tables.SMOKE_MARK)
    assert "n = 20 utterances of 10 speakers; 2 seeds per variant" in caption
    assert "partial match, version 1" in caption
    assert tables.SMOKE_MARK not in tables.caption(frame, "Adapter size", "mlp", "mini")


def test_a_caption_speaks_of_what_is_in_the_table_alone(rows):
    told = (
        "A difference is the row less",
        "p is two-sided",
        "An asterisk marks",
        "Reported F1 is the paper's",
    )
    whole = tables.caption(measured.study_table(rows, "mlp", {"cnn": 0.4}), "T", "mlp", "mini")
    assert [one in whole for one in told] == [True] * 4
    alone = tables.caption(measured.study_table(rows[2:4], "mlp", {}), "T", "mlp", "mini")
    assert [one in alone for one in told] == [False] * 4


def test_a_list_stays_below_a_table_whose_columns_are_chosen(rows, tmp_path):
    frame = measured.study_table(rows, "mlp", {})
    _, file = tables.write(frame, tmp_path, "adapter_size", "A caption.", ["one thing", "another"])
    assert file.read_text().endswith("|\n\n- one thing\n- another\n")
    tables.write_markdown(frame, file, ["f1"])
    assert file.read_text().endswith("|\n\n- one thing\n- another\n") and "Seconds" not in file.read_text()


def test_files_are_the_same_bytes_each_time(rows, tmp_path):
    def written(folder):
        frame = measured.study_table(rows, "mlp", {"cnn": 0.4017})
        paths = tables.write(frame, folder, "adapter_size", "50 % of A_B & C")
        return {path.name: path.read_bytes() for path in paths}

    first = written(tmp_path / "a")
    assert first == written(tmp_path / "b") == written(tmp_path / "a")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(first)
    csv = pd.read_csv(tmp_path / "a" / "adapter_size.csv")
    assert list(csv["variant"]) == ["cnn", "mlp", "new_one"]
    markdown = first["adapter_size.md"].decode()
    assert "| 0.459 [" in markdown and "0.402" in markdown and "NOT RUN" in markdown


def test_gain_of_two_variants(rows):
    found = measured.gain(rows, "mlp", "cnn")
    assert found.value > 0.4 and found.n_seeds == 2
    assert measured.gain(rows, "mlp", "new_one") is None


def test_gain_beyond_another_pair(rows):
    one = measured.gain(rows, "mlp", "cnn")
    assert measured.gain(rows, "mlp", "cnn", ["mlp", "mlp"]).value == pytest.approx(one.value)
    assert measured.gain(rows, "mlp", "cnn", ["mlp", "cnn"]).value == 0
    assert measured.gain(rows, "mlp", "cnn", ["mlp", "new_one"]) is None


def of_task(task, variant, pairs, seed=0):
    """A row of a system that answered so: (gold, raw) pairs of ten speakers."""
    said = [
        Prediction(f"{task}{i}", f"u{i}", f"s{i % 10}", task, raw, gold, (), 1, "")
        for i, (gold, raw) in pairs
    ]
    return row(variant, 0, seed=seed) | {"score": score.score_task(task, said)}


@pytest.fixture
def mixed():
    """Two variants that transcribe, two that find entities; of each pair the second is better."""
    words = [("a b", "a c"), ("a b", "a b")]
    names = [('{"place": ["rome"]}', "{}"), ('{"place": ["rome"]}', '{"place": ["rome"]}')]
    return [
        of_task("transcription", "asr", enumerate([words[0]] * 20)),
        of_task("transcription", "asr_beams", enumerate([words[1]] * 20)),
        of_task("ner", "ner", enumerate([names[i % 2] for i in range(20)])),
        of_task("ner", "ner_all", enumerate([names[1]] * 20)),
        row("sentiment", status="NOT RUN"),
    ]


def test_the_columns_follow_the_tasks_and_each_variant_its_own_baseline(mixed):
    tasks = ["transcription", "ner"]
    table = measured.study_table(mixed, "asr", {"asr": 0.052}, tasks, ["ner"])
    frame = table.set_index("variant")
    assert not {"f1", "precision", "partial_match_version", "macro_f1"} & set(frame.columns)
    assert frame.loc["asr", ["wer", "cer"]].tolist() == [0.5, pytest.approx(1 / 3)]
    assert pd.isna(frame.loc["asr", "ner_f1"]) and pd.isna(frame.loc["ner", "wer"])
    assert frame.loc["ner", "ner_f1"] == pytest.approx(2 / 3)
    assert frame["difference"].isna().tolist() == [True, False, True, False, True]
    assert frame.loc["asr_beams", "difference"] == -0.5  # of the WER: below 0 is better
    assert frame.loc["ner_all", "difference"] == pytest.approx(1 / 3) and frame.loc["ner_all", "differs"]
    shown = tables.display(table)
    assert {"WER", "NER F1", "Label-F1", "Difference to baseline", "Reported"} <= set(shown.columns)
    caption = tables.caption(table, "T", "asr or ner", "mini")
    assert "slue-toolkit" in caption and "lower is better" in caption and "partial match" not in caption
    assert "Reported is the paper's" in caption and "carry sentiment" not in caption


def test_the_table_says_that_sentiment_is_a_text_task(mixed):
    mixed.append(of_task("sentiment", "sentiment", enumerate([("neutral", "neutral")] * 20), seed=1))
    frame = measured.study_table(mixed[-1:], "sentiment", {}, ["sentiment"])
    assert frame.loc[0, ["macro_f1", "weighted_f1", "parse_failures"]].tolist() == [1, 1, 0]
    assert "Only the words carry sentiment" in tables.caption(frame, "T", "sentiment", "mini")


def test_a_gain_is_above_0_where_the_better_one_is_better(mixed):
    assert measured.gain(mixed, "asr_beams", "asr").value == 0.5
    assert measured.gain(mixed, "ner_all", "ner").value == pytest.approx(1 / 3)
    assert measured.main_metric(mixed, "asr").value == 0.5
    assert measured.main_metric(mixed, "sentiment") is None


def test_slot_tables_have_the_columns_they_always_had():
    table = measured.study_table([row("mlp", status="NOT RUN")], "mlp", {})
    assert ",".join(table.columns) == (
        "variant,status,n,speakers,seeds,trained_parameters,llm_share,total_parameters,speech_hours,text_tokens,"
        "precision,precision_low,precision_high,recall,recall_low,recall_high,f1,f1_low,f1_high,"
        "difference,difference_low,difference_high,difference_p,difference_se,difference_seeds,differs,"
        "exact_f1,exact_f1_low,exact_f1_high,"
        "slu_f1,slu_f1_low,slu_f1_high,parse_failures,parse_failures_low,parse_failures_high,"
        "seconds,reported,partial_match_version"
    )


def test_what_an_audio_llm_heard_before_is_a_column_where_there_is_one(rows):
    before = {"pretraining_speech_hours": 150.5, "pretraining_text_tokens": 7_000_000}
    assert not set(before) & set(measured.study_table(rows, "mlp", {}).columns)
    rows.append(row("audio_llm", 9, speech_hours=6.0, **before))
    shown = tables.display(measured.study_table(rows, "mlp", {})).set_index("Variant")
    assert shown.loc["audio_llm", "Hours of speech before"] == "150.5"
    assert shown.loc["audio_llm", "Text tokens before"] == "7,000,000"
    assert shown.loc["mlp", "Hours of speech before"] == "–"


def test_rows_of_another_arithmetic_are_named():
    """`mixed` computes in bf16 on some processors alone."""

    def told(*arithmetics):
        asked = {"config": {"evaluation": {"answerer": "model"}}, "precision": "mixed"}
        found = [row(f"v{i}", 5, arithmetic=name, **asked) for i, name in enumerate(arithmetics)]
        floor = {"config": {"evaluation": {"answerer": "chance_copier"}}, "arithmetic": "bf16"}
        return " ".join(measured.arithmetics([*found, row("chance", 1, **asked | floor)]))

    assert told("fp32", "fp32") == told(None) == ""
    assert told("fp32", "bf16", "fp32") == "Answers were computed in fp32, except those of v1 (bf16)."
    assert told("bf16", "bf16", "fp32", None) == (
        "Answers were computed in bf16, except those of v2 (fp32). The arithmetic of v3 is not on record."
    )
    assert measured.arithmetics([row("v", 5, arithmetic="fp32"), row("w", 5, arithmetic="bf16")]) == []
