"""References: those of CITATION.cff, with the fields that BibTeX styles read."""

from __future__ import annotations

import re

from speechllm_bench import cli
from speechllm_bench.cite import bib
from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.storage import paths


def test_references_are_those_of_the_citation_file(capsys):
    assert cli.main(["cite", "--bib"]) == 0
    text = capsys.readouterr().out
    assert text.rstrip() == (paths.PROJECT / "references.bib").read_text("utf-8").rstrip()
    cff = read_yaml(paths.PROJECT / "CITATION.cff")
    assert re.findall(r"^@(\w+)\{", text, re.M) == ["misc"] * (1 + len(cff["references"]))
    for entry in cff["references"]:
        assert f"{{{entry['title']}}}" in text and entry["url"] in text
    assert len(set(re.findall(r"^@\w+\{(\w+),", text, re.M))) == 1 + len(cff["references"])


def test_the_suites_version_and_date_are_those_of_the_package():
    cff = read_yaml(paths.PROJECT / "CITATION.cff")
    project = (paths.PROJECT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{cff["version"]}"' in project
    assert "@misc{hacioglu2025speechllms," in bib.references()
