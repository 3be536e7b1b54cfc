"""The site's folder: whole, small, kept where nothing changed, and never over other files."""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from speechllm_bench import cli, stats
from speechllm_bench.cite import comparing
from speechllm_bench.evaluation import score
from speechllm_bench.planning import studies
from speechllm_bench.reports import study as reports
from speechllm_bench.site import build, draws, packed, payload, run_answers
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Prediction

VENDOR = files(build.__package__) / "vendor"


def test_a_site_is_whole_and_kept_where_nothing_changed(answered: Path):
    page = build.write(["mini"], answered / "site")
    folder = page.parent
    for line in page.read_text("utf-8").split('src="')[1:]:
        assert (folder / line.split('"')[0]).is_file()
    assert "://" not in page.read_text("utf-8")
    of_runs = sorted((folder / "data" / "mini" / "runs").iterdir())
    assert len(of_runs) == 7
    written = [file.stat().st_mtime_ns for file in of_runs]
    left = folder / "data" / "mini" / "runs" / "old.js"
    left.touch()
    assert build.write(["mini"], folder) == page
    assert [file.stat().st_mtime_ns for file in of_runs] == written and not left.exists()


def test_marks_are_those_of_the_markdown_tables(answered: Path):
    reports.write("adapter_size", "mini", draw=False)
    study, rows = studies.load("adapter_size", "mini")[0], reports.rows_of("adapter_size", "mini")
    found = payload.runs_of(study, "mini", rows)
    made = {row["name"]: row for row in payload.study_payload(study, "mini", rows, found)["rows"]}
    columns = {"F1": "f1", "F1 difference to baseline": "difference"}
    for name, shown in _marked("adapter_size", columns).items():
        assert {c: m for c, m in made[name]["marks"].items() if c in columns.values()} == shown
    assert made["no_audio"]["marks"]["difference"] == "*†"
    of_claims = [row["marks"] for row in made.values() if row["table"] == "adapter_size_claims"]
    assert of_claims and not any(of_claims)  # all of two seeds


def _marked(table: str, columns: dict[str, str]) -> dict[str, dict[str, str]]:
    """By variant the marks of some columns of a Markdown table."""
    lines = (
        (paths.results("mini") / "tables" / f"{table}.md").read_text("utf-8").split("\n\n")[1].splitlines()
    )
    head, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    found = {}
    for cells in body[1:]:
        of = {columns[c]: "".join(re.findall("[*†‡]", cell)) for c, cell in zip(head, cells) if c in columns}
        found[cells[0]] = {column: marks for column, marks in of.items() if marks}
    return found


def test_a_shared_training_is_named_as_in_the_figure(answered: Path):
    """By the first variant of the study, and not by the alphabet, which may put a control first."""
    study, rows = studies.load("adapter_size", "mini")[0], reports.rows_of("adapter_size", "mini")
    found = payload.runs_of(study, "mini", sorted(rows, key=lambda row: row.name))
    assert list(found) == [name for name in study.variants if name in found] != sorted(found)
    assert len(found) == len(study.variants)


def test_a_run_and_its_test_set_have_all_counts(answered: Path):
    """What a run leaves to its test set is there, so that together they have the counts of every slice."""
    rows = reports.rows_of("adapter_size", "mini")
    found = payload.runs_of(studies.load("adapter_size", "mini")[0], "mini", rows)
    reference, one = (comparing.answers_of(o.predictions(), o.config, "mini") for o in found["mlp"])
    shared = run_answers.of_set(reference)
    made = run_answers.of_run(one, shared, texts=False)
    assert any(run_answers.SAME in columns for columns in made["slices"].values())
    for name in one.counts:
        pairs = zip(made["slices"][name], shared["columns"][name], strict=True)
        columns = [other if own == run_answers.SAME else own for own, other in pairs]
        assert pytest.approx(one.sums(name).sums[0], rel=1e-11) == np.array(columns).T


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ('{"home city": "rome", "name": "ann"}', [run_answers.AS_WANTED, run_answers.NOT_SAID, "ann"]),
        ("{}", [run_answers.NOT_SAID] * 3),
        *(
            (raw, raw)
            for raw in ('{"name": "a", "name": "b"}', '{"name": 1}', '{"age": "9"}', "[]", "ann", "")
        ),
    ],
)
def test_an_answer_is_its_values_where_they_tell_all_of_it(raw, values):
    asked, gold = ("home_city", "guests", "name"), '{"home city": "rome", "guests": "two"}'
    assert run_answers.short(Prediction("e", "u", "s", "slots", raw, gold, asked, 9, "i am ann")) == values


def test_short_doubles_are_right_to_their_last_place():
    values = np.random.default_rng(0).standard_t(1, 1000)
    places = np.frombuffer(base64.b64decode(packed.short(values)), np.uint8).reshape(5, -1).T
    whole = np.zeros((1000, 8), np.uint8)
    whole[:, :5] = places
    bits = whole.view("<u8")[:, 0]
    sign, size = bits >> np.uint64(39), bits & np.uint64(2**39 - 1)
    found = (sign << np.uint64(63)) | (size + np.uint64(packed.LEAST << 33) << np.uint64(19))
    assert found.view("<f8") == pytest.approx(values, rel=6e-11)


def test_a_folder_with_other_files_is_left_alone(answered: Path, capsys):
    (answered / "mine").mkdir()
    (answered / "mine" / "thesis.tex").touch()
    assert cli.main(["site", "--out", str(answered / "mine")]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [file.name for file in (answered / "mine").iterdir()] == ["thesis.tex"]


def test_a_profile_without_runs_is_told(suite: Path, capsys):
    assert cli.main(["site", "--profile", "mini"]) == 2
    assert "there are no stored runs of mini" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "nosuch", "mini,nosuch"])
def test_an_unknown_profile_is_told(suite: Path, capsys, name):
    assert cli.main(["site", "--profile", name]) == 2
    told = f"there is no profile '{name.split(',')[-1]}'; the profiles are: mini, paper, smoke"
    assert told in capsys.readouterr().err


def test_the_draws_are_those_of_our_intervals():
    """By the formula of `stats.contrast`, on the shipped draws alone."""
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 9, (2, 40, 3)) + np.array([0, 9, 9])
    speakers = [f"s{i % 7}" for i in range(40)]
    summed = stats.sum_by_speaker([str(i) for i in range(40)], speakers, counts)
    rule = lambda sums: 2 * sums[..., 0] / (sums[..., 1] + sums[..., 2])  # noqa: E731
    ours = stats.contrast([summed], [1], rule, score.rng(), 0.0)
    times, widths = stats.bootstrap_draws(7, score.rng(), stats.N_BOOT)
    of_seeds = np.stack([rule(times @ sums) for sums in summed.sums])
    deviations = (of_seeds.mean(axis=0) - ours.value) * np.sqrt(7 / 6) * widths
    assert ours.value + np.quantile(deviations, [0.025, 0.975]) == pytest.approx(
        [ours.low, ours.high], abs=1e-12
    )
    assert draws.freedom(2, pooled=True) == {4, 5} and draws.freedom(2, pooled=False) == {1}
    assert set(draws.of(7, {4, 5})["t"]) == {"4", "5"}


@pytest.mark.parametrize(
    "library", json.loads((VENDOR / "vendor.json").read_text("utf-8")), ids=lambda one: one["file"]
)
def test_libraries_are_those_that_are_named_and_bear_their_licence(library: dict):
    content = (VENDOR / library["file"]).read_bytes()
    assert sha256(content).hexdigest() == library["sha256"]
    assert library["version"] in content[:200].decode() and library["version"] in library["source"]
    assert "Permission to use, copy, modify" in (VENDOR / library["licence_file"]).read_text("utf-8")


def test_the_pages_name_every_script_and_nothing_outside():
    page = (files(build.__package__) / "assets" / "index.html").read_text("utf-8")
    assert [f"assets/{name}.js" for name in build.SCRIPTS] == [
        part.split('"')[0] for part in page.split('src="')[1:] if part.startswith("assets/")
    ]
