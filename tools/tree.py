"""The README's tree: every file of the project with one phrase, taken from the file itself."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

TOP = {
    "Makefile": "the whole job, readable top to bottom",
    "pyproject.toml": "ranges of versions, linter",
    ".importlinter": "import contracts: what may import what",
    "requirements.lock": "the versions that are tested",
    "environment.yml": "the same for conda",
    "experiments": "one YAML a study, one a profile",
    "notebooks": "one a study, named after it; and data, run and hand_labels",
    "src/speechllm_bench": "",
    "zoo": "the embedded backbones: weights and cards",
    "tests": "the same tree as src, and the house rules",
    "benchmarks": "what runs cost, how often intervals hold the truth, what damage and kills do",
    "tools": "",
    "docs": "the protocol, what was found, and the learning-rate sweeps",
    "results": "records, tables, figures and executed notebooks of each profile",
}
OPEN = {"experiments", "notebooks", "src", "tools"}
"""Folders listed file by file; of the others one line is enough."""


def phrase(path: Path) -> str:
    """What a file says of itself: a docstring's first line, a YAML's title or note, a notebook's heading."""
    if path.is_dir():
        init = path / "__init__.py"
        return phrase(init) if init.is_file() else ""
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n\n")[0]
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text("utf-8"))["cells"]
        text = "".join(cells[0]["source"]) if cells else ""
        return text.split("\n")[0].lstrip("# ") if text.startswith("#") else ""
    if path.suffix == ".yaml":
        found = re.search(r"^(?:title|note): *(?:>-\n *)?(.+)$|^# *(.+)$", path.read_text("utf-8"), re.M)
        return (found[1] or found[2]).strip("\"'") if found else ""
    return ""


def walk(folder: Path, depth: int) -> list[tuple[int, str, str]]:
    """(depth, name, phrase) of what lies in a folder: files before folders, both by name."""
    shown = {".py", ".ipynb"} if "src" in folder.parts else {".py", ".ipynb", ".yaml"}
    rows = []
    for path in sorted(folder.iterdir(), key=lambda p: (p.is_dir(), p.name)):
        if path.name.startswith((".", "__")):
            continue
        if path.is_dir() and any(p.suffix in {".py", ".yaml"} for p in path.iterdir()):
            rows.append((depth, f"{path.name}/", summary(phrase(path))))
            rows += walk(path, depth + 1)
        elif path.suffix in shown:
            rows.append((depth, path.name, summary(phrase(path))))
    return rows


def summary(text: str, limit: int = 100) -> str:
    """The first sentence or clause, short enough for one line."""
    text = re.split(r"(?<!et al)[.;](?:\s|$)", " ".join(text.split()))[0].rstrip(".")
    return text if len(text) <= limit else text[: text.rfind(" ", 0, limit)] + " …"


def tree() -> str:
    rows: list[tuple[int, str, str]] = []
    for name, says in TOP.items():
        path = PROJECT / name
        if name != "results" and not path.is_file() and not any(path.glob("*")):
            continue
        is_folder = path.is_dir() or name == "results"
        rows.append((0, f"{name}/" if is_folder else name, says or summary(phrase(path))))
        if Path(name).parts[0] in OPEN:
            rows += walk(path, 1)
    left = max(2 * depth + len(name) for depth, name, _ in rows) + 2
    lines = [("  " * depth + name).ljust(left) + says for depth, name, says in rows]
    return "```\n" + "\n".join(line.rstrip() for line in lines) + "\n```"
