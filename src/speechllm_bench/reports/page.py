"""A study's table in LaTeX for a paper: label, main metric, difference, p and the
value that the paper reports.

It fits one or both columns of a two-column page; the CSV beside it has every number. Each row ends in
a comment with the id of its number. `speechllm-bench check` compares the number by that id when the
table is part of a paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from speechllm_bench import stats
from speechllm_bench.errors import UserError
from speechllm_bench.reports import tables
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage import runs
from speechllm_bench.storage.numbers import Row, escaped
from speechllm_bench.tasks import MAIN_METRICS, TASKS

COLUMN, PAGE = 240, 500  # in points; the narrowest of IEEE, ISCA and ACL
SIZE, BETWEEN = 8, 4  # in points: font size, and space between two columns
WIDE = dict.fromkeys("±−+<", 0.78) | dict.fromkeys("mwMW", 0.85) | dict.fromkeys(". ,:ijlt_", 0.36)
WIDE |= dict.fromkeys("0123456789*‡–", 0.5)
"""Estimated widths of characters in em. Other characters have the width `LETTER`."""
LETTER = 0.54
NOTHING = "–"
FORM = r"""{provenance}
\begin{{{environment}}}
\centering\footnotesize\setlength{{\tabcolsep}}{{2pt}}
\caption{{{caption}}}
\label{{tab:{study}}}
\begin{{tabular}}{{@{{}}l{aligned}@{{}}}}
\toprule
{head} \\
\midrule
{body}
\bottomrule
\end{{tabular}}
\end{{{environment}}}
"""


def write(
    study: Study,
    frame: pd.DataFrame,
    rows: Sequence[Row],
    profile: str,
    folder: Path,
    chosen: Sequence[str] | None = None,
) -> Path:
    """Write <study>.tex into `folder` and return its path.

    rows: the numbers of the table (`cells.of_table`).
    """
    file = folder / f"{study.study}.tex"
    runs.write_text(file, latex(study, frame, rows, profile, chosen))
    return file


def latex(
    study: Study, frame: pd.DataFrame, rows: Sequence[Row], profile: str, chosen: Sequence[str] | None = None
) -> str:
    """Return the table in LaTeX, with booktabs.

    chosen: its columns, by their names in the CSV. Raises UserError where they are wider than a page.
    """
    metrics = [name for name in MAIN_METRICS if name in frame and frame[name].notna().any()]
    metrics = metrics or [TASKS[study.tasks[0]].main.name]  # nothing is scored yet: an empty column says so
    named = tables.headings(frame)
    shown = {name: named[name] for name in metrics}
    for name, heading in (("difference", "Difference"), ("difference_p", "p"), ("reported", "Paper")):
        if frame[name].notna().any():
            shown[name] = heading
    if chosen:
        shown = {name: named[name] for name in tables.refuse_unknown(frame, chosen)}
        metrics = [name for name in shown if f"{name}_low" in frame]
    keys = {row.name: row.key for row in rows}
    lines = frame.to_dict("records")
    cells = [[line["variant"], *(_cell(line, name, metrics) for name in shown)] for line in lines]
    ids = [_id(line, metrics, f"{profile}/{keys[line['variant']]}") for line in lines]
    body = [" & ".join(map(_escaped, row)) + rf" \\{id}" for row, id in zip(cells, ids, strict=True)]
    wide = width([["Variant", *shown.values()], *cells])
    if chosen and wide > PAGE:
        raise UserError(f"the table would be {wide:.0f} pt wide, and a page has {PAGE}; name fewer columns")
    narrow = wide <= COLUMN
    return FORM.format(
        provenance=_provenance(study, rows, profile),
        environment="table" if narrow else "table*",
        caption=_escaped(caption(study, frame, profile)),
        study=study.study,
        aligned="r" * len(shown),
        head=" & ".join(["Variant", *map(_escaped, shown.values())]),
        body="\n".join(body),
    )


def caption(study: Study, frame: pd.DataFrame, profile: str) -> str:
    """Return a caption of at most 40 words: what is shown, and the sample sizes."""
    parts = [*filter(None, [tables.smoke_mark(profile)]), f"{study.title} ({profile})."]
    if frame["n"].notna().any():
        n, speakers, seeds = (_range(frame[name]) for name in ("n", "speakers", "seeds"))
        each = "1 seed" if seeds == "1" else f"{seeds} seeds"
        parts.append(f"{n} utterances of {speakers} speakers, {each} per variant.")
        parts.append("±: half 95 % intervals.")
    if frame["difference"].notna().any():
        parts.append(f"Paired differences to {study.baseline}; p: Holm.")
    if "above_floors" in frame and frame["above_floors"].eq(False).any():
        parts.append("‡: below floor.")
    return " ".join(parts)


def width(cells: Sequence[Sequence[str]]) -> float:
    """Estimate the width of a table of these cells in points. Each column is as wide as its widest cell."""
    widest = [max(sum(WIDE.get(c, LETTER) for c in cell) for cell in column) for column in zip(*cells)]
    return SIZE * sum(widest) + BETWEEN * (len(widest) - 1)


def _escaped(text: str) -> str:
    return escaped(text).replace("±", r"$\pm$").replace("‡", r"\ddag{}")


def _cell(line: Mapping, name: str, metrics: Sequence[str]) -> str:
    value = line[name]
    if pd.isna(value):
        lacking = metrics and name == metrics[0] and all(pd.isna(line[metric]) for metric in metrics)
        return line["status"] if lacking else NOTHING
    if name == "difference_p":
        return stats.p_shown(value)
    if isinstance(value, str):
        return value
    if name in tables.SHOWN_PER_CENT:
        return f"{100 * value:.1f} %"
    if name in tables.WHOLE:
        return f"{value:,}"
    if pd.isna(line.get(f"{name}_low")):
        return f"{value:.0f}" if name == "seconds" else f"{value:.3f}"
    half = (line[f"{name}_high"] - line[f"{name}_low"]) / 2
    sign = "+" if name == "difference" else ""
    mark = "*" if name == "difference" and line["differs"] else ""
    mark += "‡" if name == "f1" and line.get("above_floors") is False else ""
    return f"{value:{sign}.3f}{mark} ± {half:.3f}"


def _id(line: Mapping, metrics: Sequence[str], key: str) -> str:
    """Return a LaTeX comment with the id of the row's number, or "" where it has no score."""
    scored = [metric for metric in metrics if pd.notna(line[metric])]
    return f" % {key}/{scored[0]}" if scored else ""


def _provenance(study: Study, rows: Sequence[Row], profile: str) -> str:
    commits = sorted({commit for row in rows for commit in row.commits})
    lines = [
        f"Written by `speechllm-bench report {study.study} --profile {profile}`; needs booktabs.",
        f"All columns: {study.study}.csv; runs and machines: numbers.json.",
        *([f"Commits: {', '.join(commits)}"] if commits else []),
    ]
    return "\n".join(f"% {line}" for line in lines)


def _range(values: pd.Series) -> str:
    found = sorted(set(values.dropna()))
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
