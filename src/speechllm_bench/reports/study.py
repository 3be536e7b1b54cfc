"""The report of one study from its stored records: tables, claims and figures, without torch."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.evaluation import intervals
from speechllm_bench.planning import studies
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import (
    cells,
    claims,
    figures,
    floors,
    latex,
    measured,
    progress,
    sizes,
    stage_ends,
    stamps,
    tables,
)
from speechllm_bench.settings.experiments import Study
from speechllm_bench.settings.extras import EXTRAS, FIGURES, TABLES
from speechllm_bench.storage import numbers, paths, runs
from speechllm_bench.tasks import TASKS


def write(
    name: str,
    profile: str,
    seeds: Sequence[int] | None = None,
    draw: bool = True,
    found: stamps.Recorded | None = None,
) -> list[Path]:
    """Write a study's tables and, with `draw`, its figures into `results/<profile>`. Return the paths.

    Variants without a run are NOT RUN in the table. A figure with nothing to draw is not made, and an older
    one of that name is removed. Files are kept as they are if nothing has changed since they were written.
    found: the study's records, if they have been read. Raises UserError where records cannot be told apart
    on this machine.
    """
    stamp = stamps.Stamp(profile, f"tables/{name}", seeds or ())
    if draw and stamp.current and stamps.Stamp(profile, "numbers").current:
        return stamp.written
    rows, read = found or stamps.stored_records(name, profile, seeds)
    with intervals.kept(stamps.intervals_file(profile, name)):
        written = _write(name, profile, rows, draw)
    if draw:
        stamp.keep(read, written)
    return written


def _write(name: str, profile: str, rows: Sequence[Result], draw: bool) -> list[Path]:
    study, _ = studies.load(name, profile)
    frame = table(study, rows)
    folder = paths.results(profile)
    again = stage_ends.trained_again(rows)
    said = caption(study, rows, frame, profile, listed=again)
    written = tables.write(
        frame, folder / "tables", name, said, [item for _, items in again for item in items]
    )
    further, found = _further(study, rows), claims.verdicts(study, rows)
    kept = cells.of_study(study, rows, frame, found, {end: shown for end, (shown, _) in further.items()})
    further["claims"] = claims.show_verdicts(found), claims_caption(study, rows, found, again)
    headings = {
        ending: progress.heading(study.title, rows, profile)
        if ending in EXTRAS and EXTRAS[ending].of_validation
        else tables.heading(frame, study.title, profile, power=False)
        for ending in further
    }
    written += [
        _write_text_table(shown, name, ending, profile, f"{headings[ending]} {about}")
        for ending, (shown, about) in further.items()
        if len(shown)
    ]
    own = [row for row in kept if row.table == name]
    written.append(_write_latex(study, frame, own, profile))
    of_claims = [row for row in kept if row.table == f"{name}_claims"]
    if (told := latex.claims_table(study, found, of_claims, profile)) is not None:
        written.append(folder / "tables" / f"{name}_claims.tex")
        runs.write_text(written[-1], told)
    stamps.update_numbers(profile, name, [name, *(f"{name}_{ending}" for ending in further)], kept)
    if draw:
        written += _draw(study, rows, frame, profile)
        _remove_others(name, folder, written)
    return written


def _write_latex(
    study: Study,
    frame: pd.DataFrame,
    rows: Sequence[numbers.Row],
    profile: str,
    chosen: Sequence[str] | None = None,
) -> Path:
    file = paths.results(profile) / "tables" / f"{study.study}.tex"
    runs.write_text(file, latex.table(study, frame, rows, profile, chosen))
    return file


def _draw(study: Study, rows: Sequence[Result], frame: pd.DataFrame, profile: str) -> list[Path]:
    written, folder = [], paths.results(profile) / "figures"
    for ending, figure in figures_of(study, rows, frame).items():
        if figure is not None:
            name = f"{study.study}_{ending}"
            written += figures.save(figure, folder, name, profile, in_short(frame, profile))
            plt.close(figure)
    return written


def in_short(frame: pd.DataFrame, profile: str) -> str:
    """Return a study's profile, rule of F1 and sample sizes in one line, for its figures.

    frame: from `measured.study_table`.
    """
    if frame["n"].isna().all():
        return f"profile {profile}"
    n, _, seeds = tables.sample_sizes(*(frame[column].dropna() for column in ("n", "speakers", "seeds")))
    rules = frame["partial_match_version"].dropna().unique() if "f1" in frame else []
    rule = "".join(f"; partial match, version {version}" for version in rules)
    return f"profile {profile}: {n} utterances, {seeds}{rule}"


def _stored(name: str, profile: str, seeds: Sequence[int] | None = None) -> tuple[Study, list[Result]]:
    return studies.load(name, profile)[0], studies.records(name, profile, seeds)


def caption(
    study: Study,
    rows: Sequence[Result],
    frame: pd.DataFrame,
    profile: str,
    listed: Sequence[tuple[str, list[str]]] | None = None,
) -> str:
    """Return the caption of a study's table: also stages that were trained again, and rows that stand apart.

    frame: from `table`. listed: the stages that were trained again, if a list of them stands below the
    table. Else the caption has the list.
    """
    again = stage_ends.trained_again(rows) if listed is None else listed
    of_table = tables.caption(frame, study.title, " or ".join(study.baselines), profile, floors.called(study))
    below = [stage_ends.LISTED] if listed else [item for _, items in again for item in items]
    notes = [*dict.fromkeys(sentence for sentence, _ in again), *below]
    notes += [*stage_ends.failed(rows), *measured.arithmetics(rows)]
    return " ".join([of_table, *notes, *tables.not_testable(rows)])


def claims_caption(
    study: Study,
    rows: Sequence[Result],
    found: pd.DataFrame,
    listed: Sequence[tuple[str, list[str]]] | None = None,
) -> str:
    """Return the caption of a table of `verdicts`: also what sets the compared rows apart.

    listed: from `stage_ends.trained_again`, if it is known.
    """
    said = claims.caption(found)
    if found["difference"].isna().all():
        return said
    again = stage_ends.trained_again(rows) if listed is None else listed
    compared = {name for claim in study.claims for name in claim.variants}
    apart = [*dict.fromkeys(sentence for sentence, _ in again)]
    where = [f"{study.study}.md lists for which variants."] if apart else []
    sides = [row for row in rows if row["variant"] in compared]
    return " ".join([said, *apart, *where, *stage_ends.failed(sides), *measured.arithmetics(sides)])


def numbered(name: str, profile: str, seeds: Sequence[int] | None = None) -> list[numbers.Row]:
    """Compute the rows that `write` puts into numbers.json for a study. Nothing is written."""
    study, rows = _stored(name, profile, seeds)
    further = {ending: shown for ending, (shown, _) in _further(study, rows).items()}
    return cells.of_study(study, rows, table(study, rows), claims.verdicts(study, rows), further)


def _further(study: Study, rows: Sequence[Result]) -> dict[str, tuple[pd.DataFrame, str]]:
    """Return file ending -> (table, caption) of the study's additional tables; some have no rows."""
    return {name: (_made(name, study, rows), named(str(EXTRAS[name].caption))) for name in study.tables}


def _made(name: str, study: Study, rows: Sequence[Result]) -> Any:
    """Make one of `EXTRAS`. Its function gets the arguments that its signature names."""
    function = named(str(EXTRAS[name].made_by))
    given = {"study": lambda: study, "rows": lambda: rows, "curve": lambda: progress.curves(rows)}
    return function(**{key: given[key]() for key in inspect.signature(function).parameters})


def named(place: str) -> Any:
    """Return the object at `module.name` in this package."""
    module, _, name = place.partition(".")
    return getattr(importlib.import_module(f"speechllm_bench.reports.{module}"), name)


def figures_of(study: Study, rows: Sequence[Result], frame: pd.DataFrame) -> dict[str, Figure | None]:
    """Return a study's figures by file ending. frame: from `table`."""
    usual = {
        "curves": progress.curves_figure(study, rows),
        "parameters": sizes.parameters_figure(study, frame),
    }
    return usual | {name: _made(name, study, rows) for name in study.figures}


def _remove_others(name: str, folder: Path, written: list[Path]) -> None:
    """Remove files that an earlier report wrote and this one did not: their numbers may be old."""
    drawn = ("parameters", "curves", *FIGURES)
    files = [f"figures/{name}_{ending}.{kind}" for ending in drawn for kind in ("pdf", "png")]
    files += [f"tables/{name}_{ending}.md" for ending in (*TABLES, "claims")] + [f"tables/{name}_claims.tex"]
    others = {f"tables/{study}.md" for study in studies.known_studies()}  # such as that of `sense_decoding`
    for file in {folder / file for file in {*files} - others} - set(written):
        file.unlink(missing_ok=True)


def table(study: Study, rows: Sequence[Result]) -> pd.DataFrame:
    """Return `measured.study_table` of `studies.records`, with the main metric that the paper reports."""
    main = {name: TASKS[study.variant(name).evaluation.task].main.name for name in study.variants}
    reported = {entry.variant: entry.value for entry in study.reported if entry.metric == main[entry.variant]}
    return measured.study_table(rows, study.baseline, reported, study.tasks, study.other_baselines)


def write_further(shown: pd.DataFrame, name: str, ending: str, profile: str, caption: str) -> Path:
    """Write an additional text table of a study as Markdown, and store its numbers. Return its path."""
    study, rows = _stored(name, profile)
    stamps.update_numbers(profile, name, [f"{name}_{ending}"], cells.of_further(study, rows, ending, shown))
    return _write_text_table(shown, name, ending, profile, caption)


def _write_text_table(shown: pd.DataFrame, name: str, ending: str, profile: str, caption: str) -> Path:
    """Write the table as Markdown, marked if the profile is smoke."""
    file = paths.results(profile) / "tables" / f"{name}_{ending}.md"
    table = shown.to_markdown(index=False, disable_numparse=True)
    mark = f"{mark} " if (mark := tables.smoke_mark(profile)) else ""
    runs.write_text(file, f"{mark}{caption}\n\n{table}\n")
    return file


def rows_of(study: str, profile: str) -> list[numbers.Row]:
    """Return the numbers of a study: those that the last report wrote, else newly computed ones."""
    found = [row for row in numbers.read(profile).values() if row.study == study]
    return found or numbered(study, profile)


def choose_columns(
    name: str, profile: str, chosen: Sequence[str], seeds: Sequence[int] | None = None
) -> list[Path]:
    """Write a study's main table again with these columns, in Markdown and LaTeX. Return the paths.

    Raises UserError for an unknown column, and for a table wider than a page.
    """
    study, rows = _stored(name, profile, seeds)
    frame, folder = table(study, rows), paths.results(profile) / "tables"
    printed = _write_latex(study, frame, cells.of_table(study, rows, frame), profile, chosen)
    return [printed, tables.write_markdown(frame, folder / f"{name}.md", chosen)]


def draw_for(name: str, profile: str, venue: str, seeds: Sequence[int] | None = None) -> list[Path]:
    """Draw a study's figures again in the widths of a venue, one of `figures.VENUES`. Return the paths."""
    study, rows = _stored(name, profile, seeds)
    with figures.for_venue(venue):
        return _draw(study, rows, table(study, rows), profile)
