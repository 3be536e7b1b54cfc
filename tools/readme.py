"""Writes the README's generated parts: the tree of files and the table of the backbones' quality.

python tools/readme.py            rewrites what stands between the markers in README.md
python tools/readme.py --check    fails when one of the parts is out of date
"""

from __future__ import annotations

import sys

import quality
import tree

README = tree.PROJECT / "README.md"
PARTS = {"tree": tree.tree, "quality": quality.table}


def renewed(readme: str) -> str:
    for name, made in PARTS.items():
        begin, end = f"<!-- {name}: made by tools/readme.py -->", f"<!-- /{name} -->"
        before, rest = readme.split(begin)
        readme = f"{before}{begin}\n{made()}\n{end}{rest.split(end)[1]}"
    return readme


if __name__ == "__main__":
    old = README.read_text("utf-8")
    new = renewed(old)
    if "--check" in sys.argv[1:]:
        sys.exit("README.md is out of date; run `python tools/readme.py`" if old != new else 0)
    README.write_text(new, "utf-8")
