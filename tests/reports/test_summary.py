"""The summary of a profile says what the tables say, and what is not there."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pytest
from test_tables import row

from speechllm_bench import cli, notebook
from speechllm_bench.errors import UserError
from speechllm_bench.planning import places, studies
from speechllm_bench.reports import study, summary, tables
from speechllm_bench.reports import study as reports
from speechllm_bench.settings.extras import EXTRAS
from speechllm_bench.storage import paths, runs, sealed


def store(variant, seed, right=None, profile="mini", **record):
    """A run of adapter_size with `right` of 20 answers right; diverged without."""
    made = row(variant, right or 0, seed, **record)
    folder = studies.run("adapter_size", variant, seed, profile).folder
    status = "diverged" if right is None else "ok"
    size = 1000 * len(variant)  # that a figure against it has an axis
    sealed.write(folder / "run.json", made["record"] | {"status": status, "trained_parameters": size}, {})
    if right is not None:
        runs.write_json(folder / "score.json", made["score"])


@pytest.fixture
def stored(suite):
    """Of six variants with two seeds: nine runs ok, one diverged, one failed, one missing."""
    right = {"cnn": (5, 7), "cnn_xl": (9, 8), "linear": (2, None), "mlp": (12, 13), "no_audio": (1, 1)}
    for variant, seeds in right.items():
        for seed, n in enumerate(seeds):
            store(variant, seed, n)
    failed = studies.run("adapter_size", "transformer", 0, "mini")
    runs.write_json(places.failure_file("mini", failed.digest), {"status": "killed"})
    return suite


def text(profile="mini"):
    return summary.write(profile).read_text("utf-8")


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_numbers_are_those_of_the_table_and_the_claims(stored):
    reports.write("adapter_size", "mini")
    table = (paths.results("mini") / "tables" / "adapter_size.md").read_text("utf-8")
    f1 = {line[0]: f"F1 {line[6].replace('†', '')}" for line in map(cells, table.splitlines()[2:])}
    said = text()
    for role, variant in {"Best": "mlp", "Worst": "linear", "Baseline": "mlp"}.items():
        assert f" {role}: {variant}, {f1[variant]}. " in said  # the lowest, no_audio, is no worst variant
    assert re.fullmatch(r"F1 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", f1["mlp"]) and f1["mlp"] != f1["linear"]
    claims = (paths.results("mini") / "tables" / "adapter_size_claims.md").read_text("utf-8")
    verdicts = Counter(cells(line)[-1] for line in claims.split("\n\n")[1].splitlines()[2:])
    assert verdicts == {"agrees": 1, "inconclusive": 1, "not run": 2}
    told = "Claims: agrees: 1, inconclusive: 1, not run: 2."
    assert f"\n**{told}** Best" in said
    assert "n = 20 utterances of 10 speakers; 1 to 2 seeds per variant." in said
    assert table.splitlines()[0].count("n = 20 utterances of 10 speakers; 1 to 2 seeds per variant.") == 1


def test_what_is_not_ok_is_named_with_its_seeds(stored):
    told = "9 of 12 runs ok. diverged: linear (seeds: 1). FAILED: transformer (seeds: 0). 1 NOT RUN."
    assert f" {told}\n" in text()


def test_a_study_without_any_run_is_one_line(stored):
    other = (
        (stored / "experiments" / "adapter_size.yaml").read_text().replace("study: adapter", "study: other")
    )
    # Half the rate, or it would share the runs that are there.
    other = other.replace("  adapter: mlp\n", "  adapter: mlp\n  lr_factor: 0.5\n", 1)
    (stored / "experiments" / "other_size.yaml").write_text(other)
    said = text()
    assert re.findall("^## (.*)", said, re.M) == [
        "adapter_size: Adapter size with a frozen LLM",
        "NOT RUN",
    ]
    (line,) = re.findall("^- other_size.*", said, re.M)
    assert line.startswith("- other_size: Adapter size with a frozen LLM, 12 runs (paper: [2510.15851](")


def test_nothing_run_at_all(suite):
    said = text("paper")
    assert "\n\nNothing has been scored.\n" in said and "- adapter_size" in said.split("## NOT RUN")[1]


def test_a_baseline_that_diverged_has_no_number(suite):
    store("mlp", 0)
    store("cnn", 0, 5)
    said = text()
    assert " Baseline: mlp, no number. " in said and " Only score: cnn, F1 0." in said and "Worst" not in said


def test_a_study_of_which_floors_alone_were_run_is_not_begun(suite):
    file = suite / "experiments" / "adapter_size.yaml"
    floor = "  no_audio: {evaluation: {answerer: chance_copier}}\n"
    file.write_text(file.read_text().replace("  no_audio: {evaluation: {audio: other}}\n", floor))
    store("no_audio", 0, 3)
    said = text()
    assert "## adapter_size" not in said and "- adapter_size: " in said.split("## NOT RUN")[1]


def test_a_study_takes_six_lines_at_most(stored):
    reports.write("adapter_size", "mini")
    line, figure = text().split("## adapter_size: Adapter size with a frozen LLM\n\n")[1].split("\n")[:2]
    assert line.endswith("(figures/adapter_size_parameters.png)")
    assert figure == '<img src="figures/adapter_size_parameters.png" width="520" alt="adapter_size">'


def test_the_bytes_are_the_same_each_time_and_name_no_place(stored):
    first = summary.write("mini").read_bytes()
    assert first == summary.write("mini").read_bytes()
    assert str(stored).encode() not in first


def test_links_lead_to_files_that_are_there(stored):
    assert "](" not in text().replace("](https://", "").replace("](../../docs/", "")
    reports.write("adapter_size", "mini")
    runs.write_text(paths.results("mini") / "notebooks" / "adapter_size.ipynb", "{}")
    linked = set(re.findall(r"\]\((?!https|\.\.)([^)]+)\)|img src=\"([^\"]+)\"", text()))
    linked = {one or other for one, other in linked}
    assert {"tables/adapter_size.md", "tables/adapter_size_claims.md"} <= linked
    assert {"figures/adapter_size_parameters.png", "notebooks/adapter_size.ipynb"} <= linked
    assert all((paths.results("mini") / link).is_file() for link in linked)


def test_what_an_earlier_report_left_and_this_one_does_not_make_is_removed(stored):
    figures, tables_ = (paths.results("mini") / part for part in ("figures", "tables"))
    old = [figures / "adapter_size_systems.png", tables_ / "adapter_size_slue.md"]
    others = [figures / "adapter_size_too_curves.png", tables_ / "lora_claims.md"]
    for file in (*old, *others):
        runs.write_text(file, "old")
    written = reports.write("adapter_size", "mini")
    assert all(file.is_file() for file in (*written, *others)) and not any(file.exists() for file in old)


def test_every_figure_and_table_that_a_study_may_name_is_made_and_has_a_link(suite):
    for extra in filter(lambda extra: extra.made_by, EXTRAS.values()):
        assert inspect.signature(study.named(extra.made_by)).parameters.keys() <= {"study", "rows", "curve"}
        assert (extra.kind == "table") == bool(extra.caption and study.named(extra.caption))
    file = suite / "experiments" / "adapter_size.yaml"
    file.write_text(file.read_text() + "figures: [sistems]\n")
    with pytest.raises(UserError, match=r"key 'figures.0' has value 'sistems': .* 'gradients', 'families'"):
        studies.load("adapter_size", "smoke")
    endings = {Path(file.format("")).stem for file in summary.FILES.values()}
    assert {f"_{ending}" for ending in EXTRAS} <= endings


def test_smoke_is_marked_and_other_profiles_are_not(suite):
    assert tables.SMOKE_MARK in text("smoke") and tables.SMOKE_MARK not in text("mini")


def test_runs_that_no_table_would_hold_are_refused_by_the_studys_name(stored):
    store("mlp", 1, 13, device_kind="cuda")
    with pytest.raises(UserError, match=r"study 'adapter_size': one table cannot mix .* device kind"):
        summary.write("mini")


def test_every_command_that_reports_writes_it(suite, monkeypatch, capsys):
    def execute(name, *_):
        file = paths.results("smoke") / "notebooks" / f"{name}.ipynb"
        runs.write_text(file, "{}")
        return file

    monkeypatch.setattr(notebook, "execute", execute)
    for line in ("report adapter_size", "notebook adapter_size"):
        assert cli.main(line.split()) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "results/smoke/README.md"
        (suite / "results/smoke/README.md").unlink()


def test_runs_that_would_mean_nothing_are_counted_among_those_that_were_not_made():
    """Profile small names no further LLMs, whose sizes reasoning_scale compares."""
    told = summary.of_study("reasoning_scale", "small").holds["waiting"]
    assert "15 runs, 15 of them NOT TESTABLE (paper: " in told
    assert "NOT TESTABLE" not in summary.of_study("stability", "small").holds["waiting"]
