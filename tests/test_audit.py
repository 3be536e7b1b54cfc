"""An audit finds what was changed behind the suite's back, and nothing where all is well."""

from __future__ import annotations

import gzip
import json

import pytest

from speechllm_bench import audit, cli
from speechllm_bench.audit import notebooks, report_files
from speechllm_bench.cite import ledger
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score as scores
from speechllm_bench.reports import study
from speechllm_bench.storage import numbers, paths, runs, sealed
from speechllm_bench.storage.schema import CURVE_COLUMNS, Prediction
from speechllm_bench.training import learning_curve, loop

DIGEST = "0123456789abcdef"
ANSWERS = [('{"city": "rome"}', '{"city": "rome"}'), ("{}", '{"city": "york"}'), ('{"city": "bath"}', "no")]


@pytest.fixture
def run(home):
    """A finished run of three answers, sealed."""
    folder = paths.results("mini") / "runs" / DIGEST
    folder.mkdir(parents=True)
    said = [
        Prediction(f"e{i}", f"u{i}", f"s{i}", "slots", raw, gold, ("city",), 3, "rome")
        for i, (gold, raw) in enumerate(ANSWERS)
    ]
    with gzip.open(folder / "predictions.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(p.to_json()) + "\n" for p in said)
    score = scores.score_task("slots", said)
    runs.write_json(folder / "score.json", score)
    learning_curve.write_curve([("slots", [loop.Point(1, 8, "train", "loss", 2.5)])], folder / "curve.csv")
    config = {"evaluation": {"task": "slots"}, "corpus": {"name": "call_centre"}}
    record = {"digest": DIGEST, "profile": "mini", "status": "ok", "config": config}
    sealed.write(folder / "run.json", record)
    return folder


def sealed_again(run):
    """A seal over what the files hold now."""
    sealed.write(run / "run.json", sealed.without(runs.read_json(run / "run.json")))


def changed_digit(run):
    text = (run / "score.json").read_text()
    place = text.index('"value": 0.') + len('"value": 0.')
    (run / "score.json").write_text(f"{text[:place]}{9 - int(text[place])}{text[place + 1 :]}")


def test_a_sound_run_is_well_and_the_report_counts_it(run, capsys):
    assert cli.main(["audit", str(paths.results("mini"))]) == 0
    told = capsys.readouterr().out.splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:5] for line in told[2:]}
    assert [name for name in rows] == [
        *("runs: records and files", "runs: curves", "runs: scores from predictions"),
    ]
    assert [int(x) for x in rows["runs: scores from predictions"]] == [1, 0, 0]


@pytest.mark.parametrize("file", ["score.json", "curve.csv", "predictions.jsonl.gz"])
def test_hashes_find_a_changed_file(run, capsys, file):
    content = (run / file).read_bytes()
    (run / file).write_bytes(content[:-2] + b" " + content[-1:])
    assert cli.main(["audit", str(paths.results("mini")), "--quick"]) == 1
    assert f"{file} is damaged: its sha256 is not the one in run.json" in capsys.readouterr().out


def test_a_score_that_was_sealed_wrong_is_found_too(run):
    changed_digit(run)
    sealed_again(run)
    assert not audit.audit_results(paths.results("mini"), quick=True).wrong
    assert "does not agree with the predictions" in audit.audit_results(paths.results("mini")).wrong[0]


def test_a_run_in_the_folder_of_another_and_one_without_its_files(run):
    other = run.rename(run.with_name("fedcba9876543210"))
    assert (
        "is of another run (0123456789abcdef)"
        in audit.audit_results(paths.results("mini"), quick=True).wrong[0]
    )
    other.rename(run)
    (run / "score.json").unlink()
    sealed_again(run)
    assert "score.json is missing" in audit.audit_results(paths.results("mini"), quick=True).wrong[0]


def test_a_folder_without_results_is_refused(home):
    with pytest.raises(UserError, match="holds no results"):
        audit.audit_results(home)


def test_a_changed_table_is_found_and_the_stored_ones_stay(suite):
    (paths.results("smoke") / "runs").mkdir(parents=True)
    written = study.write("adapter_size", "smoke")
    assert not audit.audit_results(paths.results("smoke")).wrong
    (table,) = [file for file in written if file.suffix == ".csv"]
    changed = table.read_text().replace("NOT RUN", "ok", 1)
    table.write_text(changed)
    (wrong,) = audit.audit_results(paths.results("smoke")).wrong
    assert wrong.startswith(f"{table} is not what its scores give now; draw it again")
    assert table.read_text() == changed


def test_a_changed_number_is_found(suite):
    (paths.results("smoke") / "runs").mkdir(parents=True)
    study.write("adapter_size", "smoke")
    file = numbers.file("smoke")
    whole = file.read_text()
    file.write_text(whole.replace("0.402", "0.502", 1))
    (wrong,) = audit.audit_results(paths.results("smoke")).wrong
    assert wrong.startswith(f"{file} is damaged: it does not agree with its own seal; delete it")
    sealed.write(file, json.loads(whole.replace("0.402", "0.502", 1)), {})
    (wrong,) = audit.audit_results(paths.results("smoke")).wrong
    assert wrong.startswith(f"{file} is not what its scores give now; draw it again")


def test_tables_are_made_again_without_the_locks_of_another_user(home):
    for name in ("locks", "owners", "corpora"):
        (paths.cache() / name).mkdir(parents=True)
    paths.results("smoke").mkdir(parents=True)
    with report_files._home(paths.results("smoke"), "smoke"):
        assert [kept.name for kept in paths.cache().iterdir()] == ["corpora"]


@pytest.mark.parametrize("ending", ["csv", "md", "html"])
def test_a_changed_page_of_claims_is_found(suite, monkeypatch, ending):
    (paths.results("smoke") / "runs").mkdir(parents=True)
    study.write("adapter_size", "smoke")
    claims = paths.PROJECT / "experiments" / "papers" / "claims.yaml"
    monkeypatch.setattr(ledger, "file", lambda: claims)
    ledger.write(["smoke"])
    assert not audit.audit_results(paths.home()).wrong
    page = paths.home() / "results" / f"claims.{ending}"
    page.write_text(page.read_text().replace("not run", "agrees", 1))
    (wrong,) = audit.audit_results(paths.home()).wrong
    assert wrong.startswith(f"{page} is not what the profiles' numbers give now")


def cell(count: int | None = 1, state: str = "completed", outputs=(), source: str = "f()") -> dict:
    told = {"papermill": {"status": state}}
    return {"cell_type": "code", "metadata": told, "source": source, "execution_count": count,
            "outputs": list(outputs)}  # fmt: skip


ENDED = {"exception": None, "end_time": "2026-01-01T00:00:00"}
ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}


@pytest.mark.parametrize(
    ("cells", "papermill", "fault"),
    [
        ([cell(), cell(2)], ENDED, None),
        ([cell(), cell(None, source=" ")], ENDED, None),
        ([cell()], None, None),  # executed by another program
        (
            [cell(), cell(None)],
            ENDED,
            "code cell 2 never ran, though it is marked completed: its kernel died",
        ),
        ([cell(), cell(None, "pending")], ENDED, "code cell 2 never ran: its kernel died"),
        ([cell(outputs=[ERROR]), cell(2)], ENDED, "code cell 1 holds an error (ValueError)"),
        ([cell()], ENDED | {"exception": True}, "papermill stopped with an error or did not finish"),
        ([cell()], ENDED | {"end_time": None}, "papermill stopped with an error or did not finish"),
    ],
)
def test_a_notebook_that_did_not_run_to_its_end_is_found(home, cells, papermill, fault):
    file = home / "results" / "mini" / "study.ipynb"
    metadata = {"papermill": papermill} if papermill else {}
    runs.write_json(file, {"cells": cells, "metadata": metadata})
    (found,) = notebooks.check_notebooks(file.parent)
    if fault is None:
        assert found.wrong is None
    else:
        assert fault in found.wrong


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ({"status": "ok"}, None),
        ({"status": "failed"}, "its status is failed"),
        ({"status": "running", "pid": 1}, "its process is gone"),
        (None, "no status is beside it"),
    ],
)
def test_a_notebooks_status_counts(home, status, fault):
    file = home / "results" / "mini" / "notebooks" / "study.ipynb"
    runs.write_json(file, {"cells": [cell()], "metadata": {}})
    if status:
        sealed.write(file.with_suffix(".json"), status)
    (found,) = notebooks.check_notebooks(file.parents[1])
    assert (found.wrong is None) if fault is None else (fault in found.wrong)


def test_a_notebook_that_another_host_executes_is_running(home):
    """Its pid is of that host. Who executes a notebook holds its lock."""
    file = home / "results" / "mini" / "notebooks" / "study.ipynb"
    runs.write_json(file, {"cells": [cell()], "metadata": {}})
    sealed.write(file.with_suffix(".json"), {"status": "running", "pid": 2**22 + 1})
    with runs.lock(file):
        assert [found.wrong for found in notebooks.check_notebooks(file.parents[1])] == [None]


def test_the_curve_of_a_run_has_the_columns_that_reports_read(run):
    (run / "curve.csv").write_text(",".join(CURVE_COLUMNS[:-1]) + "\n")
    sealed_again(run)
    assert "is not a curve" in audit.audit_results(paths.results("mini")).wrong[0]
