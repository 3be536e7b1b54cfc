"""Writes the generated parts of README.md and docs/: first figure, maps of studies, findings, tables,
configuration keys, the output of the examples, and which studies were run.

python tools/readme.py            rewrites the text between the markers
python tools/readme.py --check    fails if a part is out of date
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import api
import examples
import findings
import front
import limits
import papers
import quality
import schema

PROJECT = Path(__file__).resolve().parents[1]
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {
        "answer": front.answer,
        "map": papers.cited,
        "found_small": partial(front.found, "small"),
        "found": partial(front.found, "mini"),
    },
    "docs/examples.md": examples.PARTS,
    "docs/findings.md": {
        name.lower().replace(" ", "_"): partial(findings.of_paper, paper)
        for paper, name in papers.PAPERS.items()
    },
    "docs/limits.md": {"small": limits.small, "mini": limits.mini},
    "docs/studies.md": {"studies": papers.studies},
    "docs/backbones.md": {"quality": quality.table},
    "docs/api.md": {"columns": api.columns, "functions": api.functions, "comparisons": api.comparisons},
    "docs/schema.md": {
        "study": partial(schema.sections, schema.STUDY),
        "profile": partial(schema.sections, schema.PROFILE),
    },
}


def renewed(page: str, parts: dict) -> str:
    for name, made in parts.items():
        begin, end = f"<!-- {name}: made by tools/readme.py -->", f"<!-- /{name} -->"
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{made()}\n{end}{rest.split(end)[1]}"
    return page


if __name__ == "__main__":
    os.environ.pop("SPEECHLLM_BENCH_HOME", None)  # the pages describe the results of this checkout
    stale = []
    for name, parts in PARTS.items():
        old = (PROJECT / name).read_text("utf-8")
        if (new := renewed(old, parts)) != old:
            stale.append(name)
            if "--check" not in sys.argv[1:]:
                (PROJECT / name).write_text(new, "utf-8")
    if stale and "--check" in sys.argv[1:]:
        sys.exit(f"{' and '.join(stale)} out of date; run `python tools/readme.py`")
