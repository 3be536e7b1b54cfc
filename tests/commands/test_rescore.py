"""Later metrics are added to stored scores from stored predictions; no other number of them changes."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path

import pytest

from speechllm_bench import cli
from speechllm_bench.commands import rescore
from speechllm_bench.data import corpora
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.outputs import read_predictions
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import slots

KEPT = paths.PROJECT / "results" / "mini" / "runs"
TYPES = corpora.slot_types("call_centre")
NAME = next(t for t in TYPES.values() if t.paraphrases)
ANSWERS = {
    "slots": [('{"city": "three nine"}', '{"city": "39", "city": "39"}'), ("{}", "no JSON")],
    "slots_think": [('{"city": "rome"}', "<think>caller: rome</think><response>{}</response>"), ("{}", "{}")],
    "transcription": [("call three nine", "call 38"), ("yes", "yes")],
    "ner": [('{"place": "rome"}', '{"place": "york"}'), ("{}", "{}")],
}
LATER = {"partial_match_v2", "precision_v2", "recall_v2", "f1_v2", "digit_error_rate", "digits"}
PARAPHRASED = [(slots.target({NAME.paraphrases[0]: "a"}), slots.target({NAME.name: "a"})), ("{}", "{}")]


def older(score: dict) -> dict:
    """A score as it was stored before the later metrics."""
    kept = copy.deepcopy(score)
    for part in rescore.GROWING:
        for name in {*kept[part]} & LATER:
            del kept[part][name]
    return kept


def store(name: str, task: str, answers, wording: str | None = None) -> tuple[Path, dict]:
    """A run with its predictions and an older score; returns its folder and the score of today."""
    said = [
        Prediction(f"e{i}", f"u{i}", f"s{i}", task, raw, gold, ("city",), 3, "rome")
        for i, (gold, raw) in enumerate(answers)
    ]
    folder = paths.results("mini") / "runs" / name
    folder.mkdir(parents=True)
    with gzip.open(folder / "predictions.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(p.to_json()) + "\n" for p in said)
    asked = {"task": task} | ({"wording": wording} if wording else {})
    config = {"evaluation": asked, "corpus": {"name": "call_centre"}}
    sealed.write(folder / "run.json", {"status": "ok", "config": config}, {})
    today = score.score_task(task, said, score.parser(task, wording, TYPES))
    runs.write_json(folder / "score.json", older(today))
    return folder, json.loads(json.dumps(today))


@pytest.mark.parametrize("task", ANSWERS)
def test_a_score_becomes_that_of_today_and_then_stays(home, task):
    folder, today = store("a", task, ANSWERS[task])
    (folder.parent / ".b.xyz.tmp").mkdir()
    sealed.write(folder.parent / "diverged" / "run.json", {"status": "diverged"}, {})
    before = (folder / "score.json").read_text()
    first = rescore.rescore_runs("mini")
    text = (folder / "score.json").read_text()
    assert json.loads(text) == today
    runs.write_json(home / "today.json", today)
    assert text == (home / "today.json").read_text()  # in the same order as well
    assert (first.changed, first.same) == ((0, 1) if text == before else (1, 0))
    assert str(rescore.rescore_runs("mini")) == "1 scores: 0 updated, 1 already up to date"
    assert (folder / "score.json").read_text() == text
    kept = json.loads(before)
    assert older(json.loads(text)) == kept
    assert (task == "ner") == (text == before)


def test_slots_asked_by_other_names_are_read_by_them(home):
    folder, _ = store("a", "slots", PARAPHRASED, "paraphrased")
    rescore.rescore_runs("mini")
    scored = runs.read_json(folder / "score.json")
    assert scored["totals"]["partial_match"] == scored["totals"]["partial_match_v2"] == [1, 1, 1]


def test_older_scores_without_the_tasks_version_stay_without(home):
    folder, _ = store("a", "slots", ANSWERS["slots"])
    stored = runs.read_json(folder / "score.json")
    del stored["versions"]["task slots"]
    runs.write_json(folder / "score.json", stored)
    rescore.rescore_runs("mini")
    versions = runs.read_json(folder / "score.json")["versions"]
    assert versions == {"partial_match": 1, "partial_match_v2": 2, "exact_match": 1, "slu_f1": 2}


def test_a_metric_of_an_older_version_is_computed_again(home):
    folder, today = store("a", "slots", ANSWERS["slots"])
    old = json.loads(json.dumps(today))
    changed(old, "versions", "slu_f1", value=1)
    changed(old, "metrics", "slu_f1", "value", value=0.9)
    changed(old, "totals", "slu_f1", value=[1, 1, 1])
    runs.write_json(folder / "score.json", old)
    assert rescore.rescore_runs("mini").changed == 1
    assert runs.read_json(folder / "score.json") == today


def changed(score: dict, *keys, value):
    for key in keys[:-1]:
        score = score[key]
    score[keys[-1]] = value


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (("metrics", "f1", "value"), 0.3, "metrics f1 value is 0.3, not 0.0"),
        (("metrics", "f1", "value"), 2e-12, "metrics f1 value is 2e-12, not 0.0"),
        (("metrics", "slu_f1", "high"), "1", "metrics slu_f1 high differs"),
        (("totals", "exact_match"), [0, 1], "totals exact_match differs"),
        (("sums", "slu_f1", 1, 2), 7, "sums slu_f1 2 3 is 7, not 0.0"),
        (("speakers", 0), "s7", "speakers 1 differs"),
        (("n",), 3, "n is 3, not 2"),
        (("items",), "0", "items differs"),
        (("error_kinds", "missed"), True, "error_kinds missed differs"),
        (("versions", "exact_match"), 2, "versions exact_match is 2, not 1"),
        (("versions", "slu_f1"), "1", "versions slu_f1 differs"),
        (("metrics", "accuracy"), {}, "metrics differs"),
        (("metrics",), [], "metrics differs"),
        (("sums",), None, "sums differs"),
        (("more",), 1, "more differs"),
    ],
)
def test_a_score_that_differs_from_its_predictions_is_told_and_left(home, keys, value, told):
    folder, _ = store("a", "slots", ANSWERS["slots"])
    stored = runs.read_json(folder / "score.json")
    changed(stored, *keys, value=value)
    runs.write_json(folder / "score.json", stored)
    before = (folder / "score.json").read_bytes()
    with pytest.raises(UserError) as error:
        rescore.rescore_runs("mini")
    assert f"a/score.json does not agree with the predictions beside it ({told}); delete" in str(error.value)
    assert (folder / "score.json").read_bytes() == before


def test_a_score_that_lacks_a_part_is_told(home):
    folder, _ = store("a", "slots", ANSWERS["slots"])
    stored = runs.read_json(folder / "score.json")
    del stored["totals"]
    runs.write_json(folder / "score.json", stored)
    with pytest.raises(UserError, match="totals differs"):
        rescore.rescore_runs("mini")


def test_a_difference_within_rounding_is_none(home):
    folder, _ = store("a", "slots", ANSWERS["slots"])
    stored = runs.read_json(folder / "score.json")
    changed(stored, "metrics", "f1", "value", value=5e-13)
    runs.write_json(folder / "score.json", stored)
    assert rescore.rescore_runs("mini").changed == 1
    assert runs.read_json(folder / "score.json")["metrics"]["f1"]["value"] == 5e-13  # it stays as it was


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("predictions.jsonl.gz", b"", "predictions.jsonl.gz is damaged; delete its folder and run again"),
        ("predictions.jsonl.gz", None, "predictions.jsonl.gz is missing; delete its folder and run again"),
        ("run.json", b"{}", "run.json is damaged: it does not agree with its own seal; delete its folder"),
        ("score.json", b"{", "score.json is not readable JSON; delete its folder and run again"),
        ("score.json", b"[]", "it is no score"),
        ("score.json", None, "score.json is missing; delete its folder and run again"),
    ],
)
def test_damaged_files_are_told_by_the_command(home, capsys, name, content, told):
    folder, _ = store("a", "slots", ANSWERS["slots"])
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    assert cli.main(["rescore", "--profile", "mini"]) == 2
    assert told in capsys.readouterr().err


def test_the_command_says_what_it_did(home, capsys):
    assert cli.main(["rescore", "--profile", "mini"]) == 0
    store("a", "slots", ANSWERS["slots"])
    assert cli.main(["rescore", "--profile", "mini"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "0 scores: 0 updated, 0 already up to date",
        "1 scores: 1 updated, 0 already up to date",
    ]


def one_of_each_task() -> list[Path]:
    found: dict[str, Path] = {}
    for file in sorted(KEPT.glob("*/run.json")):
        asked = runs.read_json(file)["config"]["evaluation"]
        found.setdefault(f"{asked['task']} {asked.get('wording')}", file.parent)
    return list(found.values())


@pytest.mark.parametrize("folder", one_of_each_task(), ids=lambda folder: folder.name)
def test_kept_scores_are_those_of_the_predictions_beside_them(folder):
    evaluation = runs.read_json(folder / "run.json")["config"]["evaluation"]
    task, wording = evaluation["task"], evaluation.get("wording")
    said = read_predictions(folder / "predictions.jsonl.gz", "")
    fresh = score.score_task(task, said, score.parser(task, wording, TYPES))
    assert list(rescore.differences(runs.read_json(folder / "score.json"), fresh)) == []
