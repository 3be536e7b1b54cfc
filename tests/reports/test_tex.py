"""TeX itself reads what a report writes for a paper: no error, and nothing wider than a venue's columns."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from speechllm_bench.cite import check
from speechllm_bench.storage import paths

ROOT = paths.PROJECT
PROFILES = [p for p in ("mini", "small") if (ROOT / "results" / p / "tables").is_dir()]
PAGE = r"\usepackage[a4paper,textwidth={},textheight=24cm,columnsep={}]{{geometry}}\usepackage{{times}}"
VENUES = {
    "ieee": r"\documentclass[conference]{IEEEtran}",
    "acl": r"\documentclass[11pt,twocolumn]{article}" + PAGE.format("16cm", "0.6cm"),
    "isca": r"\documentclass[twocolumn]{article}" + PAGE.format("17cm", "1cm"),
}
"""Class and measures of each venue of `figures.VENUES`."""
WRONG = re.compile(
    r"^(?:! .*|Overfull .*|LaTeX Warning: .*|Package .* Warning: .*|Missing character: .*)", re.M
)


def typeset(folder: Path, text: str, *after: str) -> str:
    """Typeset a paper, run programs such as bibtex on it, and typeset it again. Return TeX's last log."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on PATH: nothing is typeset")
    (folder / "paper.tex").write_text(text)
    commands = [["pdflatex", "-interaction=nonstopmode", "paper"], *([one, "paper"] for one in after)]
    for command in [*commands, *(commands[:1] * (1 + len(after)))]:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:]
    return re.sub(
        r"(?<=.{79})\n", "", (folder / "paper.log").read_text("latin-1")
    )  # lines broken at 79 letters


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_table_fits_each_venue(profile, venue, tmp_path):
    files = sorted((ROOT / "results" / profile / "tables").glob("*.tex"))
    body = "\n".join(rf"\input{{{file}}} Table~\ref{{tab:{file.stem}}}.\clearpage" for file in files)
    text = rf"{VENUES[venue]}\usepackage{{array,booktabs}}\begin{{document}}{body}\end{{document}}"
    log = typeset(tmp_path, text)
    assert WRONG.findall(log) == []
    assert len(files) > 20


@pytest.mark.parametrize("profile", PROFILES)
def test_every_number_can_be_cited(profile, tmp_path):
    file = ROOT / "results" / profile / "numbers.tex"
    ids = [m[1] for m in check.DEFINITION.finditer(file.read_text("utf-8"))]
    assert len(ids) > 1000
    lines = "\n\n".join(rf"\bench{{{id}}} \benchvalue{{{id}}} \benchinterval{{{id}}}" for id in ids)
    text = rf"\documentclass{{article}}\input{{{file}}}\begin{{document}}\raggedright {lines}\end{{document}}"
    assert WRONG.findall(typeset(tmp_path, text)) == []
    unknown = text.replace(ids[0], f"{ids[0]}er")
    with pytest.raises(AssertionError, match="No number"):
        typeset(tmp_path, unknown)


@pytest.mark.parametrize("style", ["plain", "IEEEtran", "plainnat"])
def test_references_show_where_each_paper_is(style, tmp_path):
    shutil.copy(ROOT / "references.bib", tmp_path)
    package = r"\usepackage{natbib}" if style == "plainnat" else ""
    source = (ROOT / "references.bib").read_text("utf-8")
    cited = rf"\nocite{{*}}\bibliographystyle{{{style}}}\bibliography{{references}}"
    text = rf"\documentclass{{article}}\usepackage{{url}}{package}\begin{{document}}{cited}\end{{document}}"
    assert WRONG.findall(typeset(tmp_path, text, "bibtex")) == []
    assert "Warning" not in (tmp_path / "paper.blg").read_text()
    made = (tmp_path / "paper.bbl").read_text()
    assert [one for one in re.findall(r"eprint\s+= \{(.*)\}", source) if one not in made] == []
