import json
from collections import Counter
from dataclasses import replace

import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import TASKS, ner, slots

SAID = "fly from york to new york on monday"


def parse(text):
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def prediction(i, gold, raw, speaker="a", transcript=SAID):
    gold, raw = (x if isinstance(x, str) else json.dumps(x) for x in (gold, raw))
    return Prediction(f"u{i}-slots-0", f"u{i}", speaker, "slots", raw, gold, (), 5, transcript)


def test_every_prediction_is_counted():
    rows = [
        prediction(0, {"city": "new york"}, {"city": "york"}),
        prediction(1, {"city": "york"}, "no JSON at all", speaker="b"),
        prediction(2, {}, {}, speaker="b"),
        prediction(3, {}, {"day": "monday"}, speaker="c"),
    ]
    found = score.score_task("slots", rows, parse)
    assert (found["n"], found["speakers"]) == (4, ["a", "b", "c"])
    assert found["totals"]["partial_match"] == pytest.approx([2 / 3, 2, 2])
    assert found["totals"]["exact_match"] == [0, 2, 2]
    assert found["totals"]["unparsable"] == [1, 4]
    assert found["metrics"]["parse_failures"]["value"] == 0.25
    f1 = found["metrics"]["f1"]
    assert f1["value"] == pytest.approx(1 / 3)
    assert f1["low"] <= f1["value"] <= f1["high"]
    assert (f1["n"], f1["n_speakers"], f1["n_seeds"]) == (4, 3, 1)
    assert found["versions"] == {
        "partial_match": 1, "partial_match_v2": 2, "exact_match": 1, "slu_f1": 2, "task slots": slots.VERSION
    }  # fmt: skip


def test_perfect_and_silent_systems():
    gold = [{"city": "york"}, {"day": "monday"}]
    perfect = score.score_task("slots", [prediction(i, g, g) for i, g in enumerate(gold)], parse)
    silent = score.score_task("slots", [prediction(i, g, {}) for i, g in enumerate(gold)], parse)
    for name in ("precision", "recall", "f1", "exact_f1", "slu_f1"):
        assert perfect["metrics"][name]["value"] == 1
        assert silent["metrics"][name]["value"] == 0


def test_score_is_plain_json_and_the_same_each_time():
    rows = [prediction(i, {"city": "york"}, {"city": "york"}, speaker=str(i % 3)) for i in range(6)]
    text = json.dumps(score.score_task("slots", rows, parse), allow_nan=False)
    assert text == json.dumps(score.score_task("slots", rows, parse), allow_nan=False)
    assert score.interval([json.loads(text)], "f1").value == 1


def test_transcription():
    rows = [prediction(0, "pay the bill", "pay a bill"), prediction(1, "yes", "Yes.", speaker="b")]
    found = score.score_task("transcription", rows)
    assert found["metrics"]["wer"]["value"] == 0.25
    assert found["totals"] == {"words": [1, 4], "characters": [3, 15]}  # and no digit is said
    with pytest.raises(UserError, match="holds no 'f1'; it has wer, cer"):
        score.interval([found], "f1")


def test_a_score_older_than_a_metric_says_which_run_it_is_of_and_what_adds_it():
    stored = score.score_task("transcription", [prediction(0, "pay the bill", "pay a bill")])
    del stored["sums"]["characters"], stored["metrics"]["cer"]
    stored |= {"task": "transcription", "run": "0a1b", "profile": "small"}
    with pytest.raises(UserError) as told:
        score.interval([stored], "cer")
    assert str(told.value) == (
        "the score of run 0a1b of profile 'small' has no 'cer'; "
        "add it by: speechllm-bench rescore --profile small"
    )
    with pytest.raises(UserError, match="holds no 'f1'; it has wer"):  # no metric of the task
        score.interval([stored], "f1")


def test_digits_of_transcripts_are_counted_by_speaker():
    rows = [
        prediction(0, "it is four four two", "it is 442"),
        prediction(1, "it is four four two", "it is four for two", speaker="b"),
        prediction(2, "yes", "yes 1", speaker="b"),
    ]
    found = score.score_task("transcription", rows)
    assert found["sums"]["digits"] == [[0, 3], [2, 3]]
    rate = found["metrics"]["digit_error_rate"]
    assert rate["value"] == pytest.approx(2 / 6) and rate["low"] == 0 and rate["high"] == pytest.approx(2 / 3)
    assert found["versions"] == {"wer": 1, "digit_error_rate": 1, "task transcription": 1}


def test_version_2_of_partial_match_stands_beside_version_1():
    gold = {"account": "three nine five"}
    rows = [
        prediction(0, gold, {"account": "395"}),
        prediction(1, gold, '{"account": "three nine five", "account": "three nine five"}', speaker="b"),
        prediction(2, gold, {"account": 395}, speaker="b"),
    ]
    found = score.score_task("slots", rows)
    assert found["totals"]["partial_match"] == [1, 2, 3]
    assert found["totals"]["partial_match_v2"] == [2, 4, 3]
    assert found["sums"]["partial_match_v2"] == [[1, 1, 1], [1, 3, 2]]
    values = {name: metric["value"] for name, metric in found["metrics"].items()}
    assert [values[f"{name}_v2"] for name in ("precision", "recall", "f1")] == [
        pytest.approx(x) for x in (2 / 4, 2 / 3, 4 / 7)
    ]
    assert [values[name] for name in ("precision", "recall", "f1")] == [
        pytest.approx(x) for x in (1 / 2, 1 / 3, 2 / 5)
    ]
    assert found["metrics"]["f1_v2"]["n_speakers"] == 2
    assert score.difference([found], [found], "f1_v2").value == 0
    # A plain dict has each slot once.
    assert score.score_task("slots", rows, parse)["totals"]["partial_match_v2"] == [2, 3, 3]


def test_entities():
    rows = [
        prediction(0, {"place": ["york", "rome"]}, {"place": ["rome", "york"]}),
        prediction(1, {"place": ["york"], "when": ["may"]}, {"place": ["rome"]}, speaker="b"),
        prediction(2, {}, "no JSON at all", speaker="b"),
    ]
    found = score.score_task("ner", rows)
    assert found["totals"] == {"entities": [2, 3, 4], "entity_tags": [3, 3, 4], "unparsable": [1, 3]}
    assert found["metrics"]["ner_f1"]["value"] == pytest.approx(4 / 7)
    assert found["metrics"]["label_f1"]["value"] == pytest.approx(6 / 7)
    assert list(found["metrics"]) == ["ner_f1", "label_f1", "parse_failures"]
    assert found["versions"] == {"ner_f1": 1, "task ner": ner.VERSION}
    assert score.main_metric(found) == "ner_f1"


def test_sentiments_and_their_paired_difference():
    def system(*said):
        gold = ["negative", "neutral", "neutral", "positive"]
        rows = [prediction(i, g, s, speaker=str(i)) for i, (g, s) in enumerate(zip(gold, said, strict=True))]
        return score.score_task("sentiment", rows)

    good, bad = system("negative", "neutral", "neutral", "neutral"), system(*["neutral"] * 3, "?")
    # good: 1, 4/5, 0. bad: 0, 4/5, 0.
    assert good["metrics"]["macro_f1"]["value"] == pytest.approx((1 + 0.8 + 0) / 3)
    assert good["metrics"]["weighted_f1"]["value"] == pytest.approx((1 + 2 * 0.8 + 0) / 4)
    assert bad["metrics"]["parse_failures"]["value"] == 0.25
    gap = score.difference([good], [bad], "macro_f1")
    assert gap.value == pytest.approx(1 / 3) and gap.low <= gap.value <= gap.high
    assert score.interval([good, bad], "weighted_f1").n_seeds == 2


def test_each_task_is_scored_by_its_own_metrics():
    rows = {"slots": ({"a": "b"}, {"a": "b"}), "transcription": ("hi", "hi"), "ner": ({}, {})}
    rows["sentiment"] = ("neutral", "neutral")
    rows |= {"sit": ("yes", "yes"), "sqit": ("yes", "no"), "slots_no_think": ({"a": "b"}, {"a": "b"})}
    for task, (gold, raw) in rows.items():
        found = score.score_task(task, [replace(prediction(0, gold, raw), asked=("when",))])
        assert score.main_metric(found) == TASKS[task].main.name
        assert set(found["metrics"]) <= {metric.name for metric in TASKS[task].metrics}


def test_nothing_to_score_and_unreadable_gold_are_refused():
    with pytest.raises(UserError, match="no predictions"):
        score.score_task("slots", [], parse)
    with pytest.raises(UserError, match="gold answer of example 'u0-slots-0'"):
        score.score_task("slots", [prediction(0, "not JSON", {})], parse)


@pytest.mark.parametrize(
    ("gold", "raw", "kinds"),
    [
        ({}, {}, {}),
        ({"to": "new york"}, {"to": "New York"}, {"correct": 1}),
        ({"to": "new york"}, {"to": "newark"}, {"heard wrong": 1}),
        ({"to": "new york"}, {"to": "to new"}, {"wrong span": 1}),
        ({"to": "new york"}, {"to": "on"}, {"wrong span": 1}),
        ({"to": "new york"}, {"to": "o"}, {"heard wrong": 1}),  # words, not letters
        ({"to": "new york"}, {"origin": "new york"}, {"wrong slot": 1, "missed": 1}),
        ({"to": "new york", "from": "york"}, {"to": "york", "from": "new york"}, {"wrong slot": 2}),
        ({}, {"day": "monday"}, {"distractor filled": 1}),
        ({}, {"day": "tuesday"}, {"invented": 1}),
        ({"to": "new york"}, {"to": None}, {"missed": 1}),
        ({"to": "new york", "from": "york"}, "{", {"unparsable": 2}),
    ],
)
def test_error_kinds(gold, raw, kinds):
    assert slots.error_kinds([prediction(0, gold, raw)], parse) == Counter(kinds)
    assert set(kinds) <= set(slots.ERROR_KINDS)


def test_seeds_and_differences_come_from_stored_scores():
    def system(right):
        gold = {"city": "york"}
        rows = [prediction(i, gold, gold if i in right else {}, speaker=str(i)) for i in range(10)]
        return score.score_task("slots", rows, parse)

    good, bad = [system(range(9)), system(range(10))], [system(range(1)), system(range(2))]
    both = score.interval(good, "recall")
    assert (both.value, both.n_seeds, both.n) == (pytest.approx(0.95), 2, 10)
    gap = score.difference(good, bad, "recall")
    assert gap.value == pytest.approx(0.8)
    assert 0 < gap.low < 0.8 < gap.high
    with pytest.raises(UserError, match="different items"):
        score.difference(good[:1], [score.score_task("slots", [prediction(99, {"a": "b"}, {})], parse)], "f1")
