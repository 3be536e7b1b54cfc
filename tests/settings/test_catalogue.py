"""Studies and profiles of the user's own folder stand beside those of the checkout."""

from __future__ import annotations

import json

import pytest
import yaml
from conftest import toy_profile

from speechllm_bench import cli, notebook
from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.running import runner
from speechllm_bench.settings import profiles
from speechllm_bench.storage import paths


@pytest.fixture
def own(suite, monkeypatch):
    """A folder with a study `mine` and a profile `tiny`, and nothing that names it yet."""
    folder = suite / "own"
    (folder / "profiles").mkdir(parents=True)
    study = yaml.safe_load((paths.EXPERIMENTS / "adapter_size.yaml").read_text())
    (folder / "mine.yaml").write_text(yaml.safe_dump(study | {"study": "mine"}, sort_keys=False))
    tiny = {"profile": "tiny", "extend": "smoke", "seeds": [3]}
    (folder / "profiles" / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    monkeypatch.setenv(paths.OWN_EXPERIMENTS, "")  # so that what a command sets is taken back
    return folder


def test_studies_of_one_folder_have_the_profiles_of_the_other(own, monkeypatch):
    with pytest.raises(UserError, match="no study 'mine'; the studies are: adapter_size$"):
        studies.plan(["mine"], "smoke")
    monkeypatch.setenv(paths.OWN_EXPERIMENTS, str(own))
    assert studies.known_studies() == ["adapter_size", "mine"]
    assert profiles.known_profiles() == ["mini", "paper", "smoke", "tiny"]
    pairs = [("mine", "smoke"), ("adapter_size", "tiny"), ("mine", "tiny")]
    digests = [
        [run.digest for run in studies.plan([study], profile, None, [3]).runs] for study, profile in pairs
    ]
    assert digests[0] == digests[1] == digests[2] and len(digests[0]) == 6


def test_the_command_line_names_the_folder_for_itself_and_for_what_it_starts(own, capfd, suite):
    assert cli.main(["report", "mine", "--profile", "tiny", "--experiments", str(own)]) == 0
    table = (suite / "results" / "tiny" / "tables" / "mine.csv").read_text()
    assert table.count("NOT RUN") == 6
    plan = studies.plan(["mine"], "tiny", ["mlp"])
    told = (
        "import json, os; print(json.dumps(os.environ['SPEECHLLM_BENCH_EXPERIMENTS'])); raise SystemExit(1)"
    )
    runner.run_missing(plan, 1, lambda run, threads: [runner.sys.executable, "-c", told], lambda *_: ["true"])
    log = suite / "results" / "tiny" / "logs" / f"{plan.runs[0].digest}.log"
    assert json.loads(log.read_text()) == str(own)


def test_a_notebook_may_lie_beside_the_study_and_is_another_when_it_changes(own, monkeypatch):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["profile: str = 'tiny'"]}
    (own / "mine.ipynb").write_text(json.dumps({"cells": [cell]}))
    with pytest.raises(UserError, match="there is no notebook 'mine'"):
        notebook.source("mine")
    monkeypatch.setenv(paths.OWN_EXPERIMENTS, str(own))
    assert notebook.checked("mine", {}) == {"profile": "tiny"}
    before = notebook._code("mine")
    (own / "mine.yaml").write_text((own / "mine.yaml").read_text() + "# changed\n")
    assert notebook._code("mine") != before


@pytest.mark.parametrize(("part", "kind"), [("adapter_size", "study"), ("profiles/mini", "profile")])
def test_a_name_that_stands_in_both_folders_is_refused(own, monkeypatch, part, kind):
    (own / f"{part}.yaml").write_text(yaml.safe_dump(toy_profile("mini")))
    monkeypatch.setenv(paths.OWN_EXPERIMENTS, str(own))
    with pytest.raises(UserError, match=rf"{kind} '\w+' stands twice, in .*/own/.*{part}.yaml; rename one"):
        studies.plan(["mine"], "mini")


def test_a_link_to_nowhere_and_a_folder_are_no_studies_and_no_profiles(own, capsys):
    for folder in (own, own / "profiles"):
        (folder / "nowhere.yaml").symlink_to(own / "gone.yaml")
        (folder / "a_folder.yaml").mkdir()
    where = ("--experiments", str(own))
    assert cli.main(["list", *where]) == 0
    told = capsys.readouterr().out
    assert "mine" in told and "nowhere" not in told and "a_folder" not in told
    assert cli.main(["plan", "nowhere", "--profile", "tiny", *where]) == 2
    assert "there is no study 'nowhere'; the studies are: adapter_size, mine" in capsys.readouterr().err
    assert cli.main(["plan", "mine", "--profile", "tiny", *where]) == 0


def test_a_folder_that_is_not_there_is_told(own, capsys):
    assert cli.main(["report", "--experiments", str(own / "nowhere")]) == 2
    assert f"there is no folder {own / 'nowhere'}, which --experiments or" in capsys.readouterr().err
