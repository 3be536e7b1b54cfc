"""`list` and `plan`: what there is, and what would run, as text and as JSON Lines."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from speechllm_bench import cli
from speechllm_bench.planning import listing, studies
from speechllm_bench.running import runner
from speechllm_bench.storage import paths, sealed


def rows(capsys, *line):
    assert cli.main([*line, "--format", "jsonl"]) == 0
    return [json.loads(text) for text in capsys.readouterr().out.splitlines()]


def test_all_there_is_has_its_title_note_or_settings(suite, capsys):
    found = rows(capsys, "list")
    assert [row["kind"] for row in found] == ["study", *["variant"] * 6, *["profile"] * 3]
    assert found[0]["title"] == "Adapter size with a frozen LLM" and found[0]["paper"] == "2510.15851"
    assert found[1] | {"name": "cnn", "changes": {"adapter": "cnn"}} == found[1]
    assert {row["name"]: row["note"] for row in found[-3:]} == dict.fromkeys(
        ("mini", "paper", "smoke"), "a toy"
    )
    assert rows(capsys, "list", "studies") == found[:1]
    assert rows(capsys, "list", "variants") == found[1:7]
    assert rows(capsys, "list", "profiles") == found[7:]
    assert cli.main(["list"]) == 0
    text = capsys.readouterr().out
    assert "adapter_size  Adapter size with a frozen LLM (2510.15851)\n" in text
    assert "  no_audio     {evaluation: {audio: other}}\n" in text and "\nmini   a toy\n" in text


def test_headline_studies_are_a_plain_list_that_make_reads(suite, capsys):
    assert cli.main(["list", "headline", "--profile", "mini"]) == 0
    assert capsys.readouterr().out == "adapter_size\n"


def test_a_file_that_cannot_be_read_is_told_and_hides_none(suite, capsys):
    (paths.EXPERIMENTS / "half.yaml").write_text("study: half")
    (paths.EXPERIMENTS / "profiles" / "bad.yaml").write_text("profile: [bad")
    found = {row["name"]: row.get("error", "") for row in rows(capsys, "list") if row["kind"] != "variant"}
    assert "half.yaml: key 'title' is missing" in found["half"]
    assert "bad.yaml is not readable YAML" in found["bad"]
    assert not found["adapter_size"] and not found["mini"]


def test_a_plan_tells_stages_examples_and_time_and_starts_nothing(suite, capsys, monkeypatch):
    monkeypatch.setattr(runner, "run_missing", None)
    run = studies.run("adapter_size", "cnn", 0, "smoke")
    record = {"status": "ok", "seconds": {"total": 3, "train": 1, "validate": 0}}
    sealed.write(run.folder / "run.json", record)
    before = sorted(suite.rglob("*"))
    found = rows(capsys, "plan", "adapter_size", "--variants", "cnn,mlp,no_audio")
    assert sorted(suite.rglob("*")) == before
    done, mlp, no_audio = found
    assert (done["status"], done["seconds"], done["digest"]) == ("done", None, run.digest)
    assert [(s["name"], s["examples"]) for s in mlp["stages"]] == [("transcription", 32), ("slots", 64)]
    assert [s["status"] for one in found for s in one["stages"]] == [
        *("done", "done"), *("missing", "missing"), *("shared", "shared")
    ]  # fmt: skip
    assert (mlp["seconds"], no_audio["seconds"]) == (3.9, 2)  # 96 at 50 examples a second, 2 s beside


def test_a_dry_run_of_a_study_is_its_plan(suite, capsys, monkeypatch):
    monkeypatch.setattr(runner, "run_missing", None)
    options = ("adapter_size", "--variants", "cnn,mlp", "--seeds", "4", "--jobs", "1")
    told = []
    for command in (("plan",), ("study", "--dry-run")):
        assert cli.main([*command, *options]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    head, *lines = told[0].splitlines()
    assert head.startswith("Profile smoke: runs to do: 2 (0 are there); training stages after sharing: 4;")
    assert lines[1] == (
        "  adapter_size mlp seed 4: missing, about 22 s; transcription 32 examples, slots 64 examples"
    )


def test_variants_that_are_left_out_are_rows_of_a_plan(suite, capsys):
    profile = paths.EXPERIMENTS / "profiles" / "smoke.yaml"
    profile.write_text(profile.read_text().replace("  nano: zoo/toy-nano\n", ""))
    study = paths.EXPERIMENTS / "adapter_size.yaml"
    study.write_text(study.read_text().replace("  cnn_xl:", "  small: {llm: nano}\n  cnn_xl:"))
    found = rows(capsys, "plan", "adapter_size", "--variants", "all")
    assert [row["status"] for row in found] == ["missing"] * 6 + ["left out"]
    assert "Left out: adapter_size small: profile 'smoke' names no LLM" in found[-1]["message"]


@pytest.mark.parametrize(
    "line", ["plan adapter_sizes", "plan adapter_size --variants mpl", "list --profile big"]
)
def test_a_wrong_name_is_refused(suite, capsys, line):
    assert cli.main(line.split()) == 2 and capsys.readouterr().err.startswith("speechllm-bench: ")


def test_a_reader_that_stops_early_gets_no_traceback():
    command = [sys.executable, "-m", "speechllm_bench.cli", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141


def test_variants_are_told_in_one_line():
    assert listing._shortened({"a": list(range(80))}).endswith("…")
    assert listing._shortened({"a": [1, {"b": None}]}) == "{a: [1, {b: null}]}"
    shared = {"b": 1}  # as an alias of YAML is read
    assert listing._shortened({"a": shared, "c": shared}) == "{a: {b: 1}, c: {b: 1}}"
