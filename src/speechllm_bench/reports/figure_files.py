"""Files of a figure, PDF and PNG. The same figure gives the same bytes each time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from fontTools import subset
from matplotlib.figure import Figure

from speechllm_bench.reports import tables
from speechllm_bench.reports.figures import STYLE
from speechllm_bench.storage.runs import write_bytes


class _DrawnGlyphs(subset.Options):
    """Options for the fonts in a PDF. They lack the tables that lay out text, which take half of the time.

    No viewer needs the tables, since matplotlib has placed each glyph.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.drop_tables += ["GDEF", "GPOS", "GSUB", "MATH"]


subset.Options = _DrawnGlyphs  # matplotlib has no setting for it


@mpl.rc_context(STYLE)
def save(figure: Figure, folder: Path, name: str, profile: str) -> list[Path]:
    """Write <name>.pdf and <name>.png (300 dpi) and return their paths.

    Panels are laid out once for both files. Figures of profile smoke are marked.
    """
    if mark := tables.smoke_mark(profile):
        figure.supxlabel(mark, color="#B00020", fontsize=7, fontweight="bold")
    figure.set_dpi(STYLE["savefig.dpi"])  # the layout measures text at this resolution
    if layout := figure.get_layout_engine():
        layout.execute(figure)
        with mpl.rc_context({"figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # "none" would still draw twice for each file
    paths = []
    for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        content = io.BytesIO()
        figure.savefig(content, format=ending, metadata=metadata)
        paths.append(folder / f"{name}.{ending}")
        write_bytes(paths[-1], content.getvalue())
    return paths
