"""Study notebooks share cells, which one template holds; each has its own question, prose and extras."""

from __future__ import annotations

import copy
import json
import sys

import pytest

from speechllm_bench.settings import catalogue
from speechllm_bench.storage import paths

TOOLS = paths.PROJECT / "tools"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    import notebooks

    yield notebooks
    sys.modules.pop("notebooks", None)


def read(name):
    return json.loads((paths.NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))


def shared_cells(notebook, template):
    return [cell for cell in notebook["cells"] if cell["source"] and cell["source"][0] in template]


def test_the_shared_cells_of_every_study_are_those_of_the_template(tool):
    template = tool.shared()
    assert len(template) > 5
    told = {name: read(name) for name in catalogue.study_files()}
    assert {name for name, notebook in told.items() if tool.renewed(notebook, template) != notebook} == set()
    assert sum(len(shared_cells(notebook, template)) >= 4 for notebook in told.values()) > 20


def test_a_shared_cell_that_was_changed_is_renewed_and_own_cells_stay(tool):
    template, whole = tool.shared(), read("multistage")  # has a line of its own in one of them
    changed = copy.deepcopy(whole)
    cell = shared_cells(changed, template)[0]
    cell["source"] = cell["source"][:-1]
    assert tool.renewed(changed, template) == whole != changed


def test_a_new_notebook_is_of_its_study_and_has_every_shared_cell(tool):
    made, template = tool.new("lora"), tool.shared()
    first, text = "".join(made["cells"][0]["source"]), json.dumps(made)
    assert first.startswith("# LoRA on and off\n") and "arxiv.org/abs/2510.15851" in first
    assert 'studies.load(\\"lora\\", profile)' in text and not {"STUDY", "TITLE", "PAPER"} & set(text.split())
    assert len(shared_cells(made, template)) == len(template)
    assert tool.renewed(made, template) == made
    with pytest.raises(SystemExit, match="there is no study 'lorra'"):
        tool.new("lorra")
