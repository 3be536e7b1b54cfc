"""What a venue asks for: a table of chosen columns, and figures in the widths of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from speechllm_bench import paths, studies
from speechllm_bench.reports import cells, figures, page, study, tables


def choose_columns(
    name: str, profile: str, chosen: Sequence[str], seeds: Sequence[int] | None = None
) -> list[Path]:
    """Give a study's own table, once written, these columns in Markdown and LaTeX; returns the paths.

    UserError for a column that it has not, and for a table wider than a page.
    """
    loaded, rows = studies.load(name, profile)[0], studies.records(name, profile, seeds)
    frame, folder = study.table(loaded, rows), paths.results(profile) / "tables"
    numbers = cells.of_table(loaded, rows, frame)
    printed = page.write(loaded, frame, numbers, profile, folder, chosen)
    return [printed, tables.write_markdown(frame, folder / f"{name}.md", chosen)]


def draw(name: str, profile: str, venue: str, seeds: Sequence[int] | None = None) -> list[Path]:
    """Draw a study's figures again in the widths of a venue, one of `figures.VENUES`; returns the paths."""
    loaded, rows = studies.load(name, profile)[0], studies.records(name, profile, seeds)
    folder, written = paths.results(profile) / "figures", []
    with figures.for_venue(venue):
        for ending, figure in study.figures_of(loaded, rows, study.table(loaded, rows)).items():
            if figure is not None:
                written += figures.save(figure, folder, f"{name}_{ending}", profile)
                plt.close(figure)
    return written
