"""Fonts in PDF files, without the tables that lay out text, which take half of the time of a PDF.

No viewer needs these tables, since matplotlib has placed each glyph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fontTools import subset
from fontTools.ttLib import TTFont

_load_font = subset.load_font


def drop_layout() -> None:
    """Let matplotlib, which has no setting for it, write fonts without these tables from now on."""
    subset.Options, subset.load_font = _DrawnGlyphs, _without_layout


class _DrawnGlyphs(subset.Options):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.drop_tables += ["GDEF", "GPOS", "GSUB", "MATH"]


def _without_layout(file: Path, options: subset.Options, *more: Any, **named: Any) -> TTFont:
    """Return a font without the dropped tables. The subsetter would read those of the layout first."""
    font = _load_font(file, options, *more, **named)
    for table in {*options.drop_tables, "kern"} & {*font.keys()}:
        del font[table]
    return font
