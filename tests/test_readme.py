"""README and docs/ say what is there: generated parts are up to date, links lead on, commands exist."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml

from speechllm_bench import cli
from speechllm_bench.cite import check
from speechllm_bench.planning import studies
from speechllm_bench.reports.claims import Verdict
from speechllm_bench.reports.tables import NOT_RUN
from speechllm_bench.settings.experiments import load_study
from speechllm_bench.settings.profiles import known_profiles
from speechllm_bench.storage import paths
from speechllm_bench.storage.paths import EXPERIMENTS, PROJECT

README = (PROJECT / "README.md").read_text("utf-8")
FIRST_SCREEN = README[: README.index("\n## ")]
DOCS = sorted((PROJECT / "docs").glob("*.md"))
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md", *DOCS]
STUDIES = [load_study(file) for file in sorted(EXPERIMENTS.glob("*.yaml"))]


def _shell_lines() -> list[str]:
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.S)
    lines = (line.split("#")[0].strip() for block in blocks for line in block.splitlines())
    return [*filter(None, lines), *re.findall(r"`((?:make|speechllm-bench) [^`]+)`", text)]


def _anchors(page: Path) -> set[str]:
    """What a page's headings are linked by, as GitHub and MkDocs name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_generated_parts_are_up_to_date():
    check = [sys.executable, "tools/readme.py", "--check"]
    done = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_first_screen_says_what_matters():
    for words in ("synthetic", "NOT RUN", "\nmake  ", "\nmake test", "\nmake lab", "<img src=", "| Figure |"):
        assert words in FIRST_SCREEN, words
    assert FIRST_SCREEN.count("\n") < 45
    assert README.count("\n") < 150


def test_the_lines_for_a_paper_pass_the_check(tmp_path):
    text = (PROJECT / "docs" / "citing.md").read_text("utf-8")
    paper = tmp_path / "paper.tex"
    paper.write_text("\n\n".join(re.findall(r"```latex\n(.*?)```", text, re.S)))
    shutil.copy(PROJECT / "results" / "mini" / "numbers.tex", tmp_path)
    with paths.at_home(PROJECT):
        found = check.check_papers([paper])
    assert found.n > 3 and found.faults == ()


def test_the_first_figure_is_of_profile_small_once_it_is_there(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(PROJECT / "tools")
    front = importlib.import_module("front")
    of_small = front.answer()
    assert of_small in README and "profile `small`" in of_small
    tables, figures = (tmp_path / "results" / "small" / part for part in ("tables", "figures"))
    for folder in (tables, figures):
        folder.mkdir(parents=True)
    scored = [("cnn", 1, 0.5), ("cnn_lora", 1, 0.6004), ("mlp", 1, 0.7), ("mlp_lora", 2, 0.8)]
    rows = ["variant,n,speakers,seeds,f1", "no_audio,,,,"]
    rows += [f"{name},300,30,{seeds},{f1}" for name, seeds, f1 in scored]
    (tables / "lora.csv").write_text("\n".join(rows))
    monkeypatch.setattr(front, "PROJECT", tmp_path)
    assert front.answer() == "No study of the first screen has a record yet."  # its figure is missing
    (figures / "lora_parameters.png").touch()
    said = front.answer()
    assert (
        "from 0.500 to 0.600 behind the CNN" in said
        and "300 test turns of 30 speakers, 2 seeds per variant" in said
    )
    assert "Transformer" not in said and "wrong audio" not in said  # no such rows were run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    for link in [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r'<img src="([^"]+)"', text)]:
        name, _, anchor = link.partition("#")
        if "://" not in link:
            target = page.parent / name if name else page
            assert target.exists(), link
            if anchor and target.parent == PROJECT / "docs":
                assert anchor in _anchors(target), link


def test_every_profile_and_only_real_ones_are_in_the_table():
    profiles = (PROJECT / "docs" / "profiles.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)`(?: \(default\))? \|", profiles, re.M)
    assert sorted(rows) == known_profiles()


def test_the_maps_lead_from_the_papers_to_every_study():
    listed = (PROJECT / "docs" / "studies.md").read_text("utf-8")
    for study in STUDIES:
        assert f"| [`{study.study}`](../experiments/{study.study}.yaml) | {study.title} |" in listed
        if study.reported:
            row = rf"^\| \[[\w ]+\]\(\S+{study.paper}\) \| \S.* \| .* \| `make STUDY={study.study}` \| .+ \|$"
            assert re.search(row, FIRST_SCREEN, re.M), study.study


def test_every_page_is_in_the_site():
    site = yaml.safe_load((PROJECT / "mkdocs.yml").read_text("utf-8"))
    named = re.findall(r"[\w]+\.md", str(site["nav"]))
    assert sorted(named) == [page.name for page in DOCS]


def test_papers_are_not_called_as_test_sets_are():
    for page in PAGES:
        assert not re.search(r"\b[Pp]apers? [ABC]\b", page.read_text("utf-8")), page.name


def test_the_glossary_has_every_status_and_verdict_and_the_terms_of_configuration():
    glossary = (PROJECT / "docs" / "glossary.md").read_text("utf-8")
    terms = [term for cell in re.findall(r"^\| ([^|]+) \|", glossary, re.M) for term in cell.split(", ")]
    statuses = ["ok", "diverged", "FAILED", NOT_RUN, studies.NOT_TESTABLE, *get_args(studies.Status)]
    assert set(statuses) | set(get_args(Verdict)) <= set(terms)
    keys = ["axis", "grid", "override", "role", "headline", "recipe"]
    assert {*keys, "digest", "`mixed` (precision)", "ledger"} <= set(terms)


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text("utf-8"), re.M))
    for line in _shell_lines():
        if line.startswith("make "):
            wanted = {word for word in line.split()[1:] if "=" not in word}
            assert wanted <= targets, line


def test_commands_are_real(capsys):
    commands = {line.split()[1] for line in _shell_lines() if line.startswith("speechllm-bench ")}
    assert commands
    try:
        cli.main(["--help"])
    except SystemExit as end:
        assert end.code in (0, None)
    shown = capsys.readouterr().out
    for command in commands:
        assert re.search(rf"\b{command}\b", shown), command


@pytest.mark.parametrize(
    ("ran", "floors", "said"),
    [
        ((), (), "**NOT RUN** at this profile."),
        (("chance",), ("chance",), "**NOT RUN** at this profile, except for the floors."),
        (("mlp", "chance"), ("chance",), "The table has the 2 of 3 variants that were run at this profile."),
    ],
)
def test_a_study_without_sentences_says_what_was_run(monkeypatch, ran, floors, said):
    monkeypatch.syspath_prepend(PROJECT / "tools")
    findings = importlib.import_module("findings")
    assert findings._unsaid(("mlp", "cnn", "chance"), set(ran), set(floors)) == said
