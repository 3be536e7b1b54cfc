"""Updates the cells that study notebooks share, from one template. Each keeps its question, prose and extras.

python tools/notebooks.py           updates the shared cells of all study notebooks
python tools/notebooks.py --check   fails if a shared cell differs from the template
python tools/notebooks.py NAME      writes a notebook for the study NAME, to which you add prose and cells

A cell is shared if its first line is that of a template cell. It may have further lines in between.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from speechllm_bench.settings import catalogue, experiments
from speechllm_bench.storage import paths

TEMPLATE = Path(__file__).with_name("study_notebook.ipynb")
STUDY, TITLE, PAPER = "STUDY", "TITLE", "PAPER"  # placeholders in the template


def shared() -> dict[str, list[str]]:
    """Return first line -> lines, for the code cells of the template that name no study."""
    cells = [cell["source"] for cell in _read(TEMPLATE)["cells"] if cell["cell_type"] == "code"]
    return {lines[0]: lines for lines in cells if lines[0].startswith("#")}


def renewed(notebook: dict, template: dict[str, list[str]]) -> dict:
    """Return a copy of the notebook with its shared cells updated from the template."""
    cells = []
    for cell in notebook["cells"]:
        lines = cell["source"]
        wanted = template.get(lines[0] if lines else "", [])
        cells.append(cell if _holds(lines, wanted) else cell | {"source": wanted})
    return notebook | {"cells": cells}


def new(name: str) -> dict:
    """Return a notebook for a study, from the template and the study's title and paper."""
    if (file := catalogue.study_files().get(name)) is None:
        sys.exit(f"there is no study '{name}'; name a study of experiments/")
    study = experiments.load_study(file)
    text = TEMPLATE.read_text("utf-8")
    for mark, value in ((STUDY, name), (TITLE, study.title), (PAPER, study.paper)):
        text = text.replace(mark, json.dumps(value, ensure_ascii=False)[1:-1])
    return json.loads(text)


def _holds(lines: list[str], wanted: list[str]) -> bool:
    """Return whether all wanted lines occur among these, in their order."""
    left = (line.rstrip("\n") for line in lines)
    return all(line.rstrip("\n") in left for line in wanted)


def _read(file: Path) -> dict:
    return json.loads(file.read_text("utf-8"))


def _write(file: Path, notebook: dict) -> None:
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main(name: str | None = None) -> None:
    if name and name != "--check":
        _write(paths.NOTEBOOKS / f"{name}.ipynb", new(name))
        return
    stale, template = [], shared()
    for study in catalogue.study_files():
        file = paths.NOTEBOOKS / f"{study}.ipynb"
        if file.is_file() and (made := renewed(old := _read(file), template)) != old:
            stale.append(file.name)
            if name != "--check":
                _write(file, made)
    if stale and name == "--check":
        sys.exit(f"{', '.join(stale)}: shared cells out of date; run `python tools/notebooks.py`")


if __name__ == "__main__":
    main(*sys.argv[1:2])
