"""Fonts of PDF files lack the tables that lay out text, and their letters are those of the whole font."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from fontTools import subset

from speechllm_bench.reports import figures, fonts  # noqa: F401, figures drops the tables

FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
DRAWN = "office 0.95 ± F1, École"
LAYOUT = {"GDEF", "GPOS", "GSUB", "MATH", "kern"}


def drawn(options, load):
    """Return the font as matplotlib subsets it."""
    chosen = options(glyph_names=True, recommended_glyphs=True, retain_gids=True)
    font, subsetter = load(FONT, chosen), subset.Subsetter(chosen)
    subsetter.populate(text=DRAWN)
    subsetter.subset(font)
    return font


def test_letters_are_as_in_the_whole_font_and_tables_of_layout_are_gone():
    theirs = drawn(fonts._DrawnGlyphs.__base__, fonts._load_font)
    ours = drawn(subset.Options, subset.load_font)
    assert LAYOUT & {*theirs.keys()} and not LAYOUT & {*ours.keys()}
    for letter in map(ord, DRAWN):
        name = theirs.getBestCmap()[letter]
        assert ours.getBestCmap()[letter] == name and ours.getGlyphID(name) == theirs.getGlyphID(name)
        assert ours["glyf"][name] == theirs["glyf"][name] and ours["hmtx"][name] == theirs["hmtx"][name]


def test_fonts_of_others_can_be_read_with_all_of_fonttools_options():
    font = subset.load_font(FONT, subset.Options(), lazy=False)
    assert "glyf" in font and "GSUB" not in font
