"""Reports are written again where something that they rest on has changed, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml
from stored_runs import store

from speechllm_bench.commands import reporting
from speechllm_bench.planning import places, studies
from speechllm_bench.reports import stamps, summary
from speechllm_bench.reports import study as reports
from speechllm_bench.storage import numbers, paths, runs

STUDY, PROFILE = "adapter_size", "mini"


@pytest.fixture
def drawn(suite, monkeypatch) -> list[str]:
    """Studies whose reports were drawn, by a stand-in that writes one table; one such report is there."""
    store("mlp", 0, 12)
    names: list[str] = []

    def draw(name, profile, rows, _):
        names.append(name)
        table = paths.results(profile) / "tables" / f"{name}.csv"
        runs.write_text(table, "\n".join(row["status"] for row in rows))
        stamps.update_numbers(profile, name, [], [])
        return [table]

    monkeypatch.setattr(reports, "_write", draw)
    reports.write(STUDY, PROFILE)
    names.clear()
    return names


def run_of(variant: str, seed: int = 0) -> studies.Run:
    return studies.run(STUDY, variant, seed, PROFILE)


def edit_the_study() -> None:
    file = paths.experiment_folders()[0] / f"{STUDY}.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"title": "Another title"}))


CHANGES = {
    "a further run": lambda: store("cnn", 0, 5),
    "another score": lambda: store("mlp", 0, 13),
    "a run that failed": lambda: runs.write_json(places.failure_file(PROFILE, run_of("cnn").digest), {}),
    "a run less": lambda: runs.remove(run_of("mlp").folder),
    "another title": edit_the_study,
    "a table that is gone": (lambda: (paths.results(PROFILE) / "tables" / f"{STUDY}.csv").unlink()),
    "a table by another hand": (
        lambda: runs.write_text(paths.results(PROFILE) / "tables" / f"{STUDY}.csv", "by hand")
    ),
    "numbers that are gone": lambda: numbers.file(PROFILE).unlink(),
    "numbers by another hand": lambda: numbers.update(
        PROFILE, "other", ["o"], [numbers.Row("o/o/A", "o", "ok")]
    ),
    "a damaged stamp": lambda: (stamps.folder(PROFILE) / "tables" / f"{STUDY}.json").write_text("{"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_drawn_again_once(drawn, change):
    CHANGES[change]()
    written = reports.write(STUDY, PROFILE)
    assert drawn == [STUDY]
    assert reports.write(STUDY, PROFILE) == written and drawn == [STUDY]


def test_the_records_of_a_study_are_read_once_for_its_report_and_its_summary(drawn, monkeypatch):
    store("cnn", 0, 5)
    asked, records = [], studies.records
    monkeypatch.setattr(studies, "records", lambda *which: asked.append(which[0]) or records(*which))
    written = list(reporting.write([STUDY], PROFILE))
    assert drawn == [STUDY] and asked.count(STUDY) == 1
    assert "cnn" in written[-1].read_text() and written[-1] == summary.write(PROFILE)


def test_without_a_change_nothing_is_drawn_and_the_files_are_named(drawn):
    table = paths.results(PROFILE) / "tables" / f"{STUDY}.csv"
    assert reports.write(STUDY, PROFILE) == list(reporting.write([STUDY], PROFILE))[:1] == [table]
    store("mlp", 0, 14, profile="smoke")  # of another profile
    assert reports.write(STUDY, PROFILE) == [table] and drawn == []


def test_numbers_are_written_again_only_if_they_or_their_files_changed(suite):
    kept = [numbers.Row("o/o/A", "o", "ok", seeds=(0,), cells={"f1": numbers.Cell("0.5", 0.5)})]
    file = numbers.file(PROFILE)

    def written(rows) -> tuple[int, bytes]:
        stamps.update_numbers(PROFILE, "o", ["o"], rows)
        return file.stat().st_mtime_ns, file.read_bytes()

    first = written(kept)
    assert written(kept) == first
    file.with_suffix(".tex").unlink()
    assert written(kept)[0] > first[0] and file.with_suffix(".tex").is_file()
    assert written([])[1] != first[1] and written(kept)[1] == first[1]


def test_other_seeds_are_another_report(drawn):
    reports.write(STUDY, PROFILE, [0])
    assert drawn == [STUDY]
    reports.write(STUDY, PROFILE)
    assert drawn == [STUDY, STUDY]


def test_the_summary_finds_anew_what_changed_alone(suite, monkeypatch):
    store("mlp", 0, 12)
    first, found = summary.write(PROFILE).read_text(), []
    find = summary._found
    monkeypatch.setattr(summary, "_found", lambda *asked: found.append(asked[0]) or find(*asked))
    assert summary.write(PROFILE).read_text() == first and found == []
    (paths.results(PROFILE) / "README.md").unlink()
    assert summary.write(PROFILE).read_text() == first and found == []
    store("cnn", 0, 5)
    assert summary.write(PROFILE).read_text() != first and set(found) == {STUDY}


def test_an_unchanged_report_imports_no_library_that_draws(tmp_path):
    code = (
        "import sys; from speechllm_bench import cli;"
        "cli.main(['report', 'fresh_test', '--profile', 'mini']);"
        "sys.exit(bool({'pandas', 'matplotlib'} & sys.modules.keys()))"
    )
    command, home = [sys.executable, "-c", code], {paths.HOME: str(tmp_path)}
    assert [subprocess.run(command, env=os.environ | home).returncode for _ in range(2)] == [1, 0]
