"""A study's table in LaTeX, for a paper: label, main metric, difference, p and what the paper reports.

It fits one or both columns of a two-column page; the CSV beside it has every number. Each row ends in a
comment with the id of its number. `speechllm-bench check` compares the number by that id when the table is
part of a paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from speechllm_bench import stats
from speechllm_bench.errors import UserError
from speechllm_bench.reports import looks, tables
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage.numbers import Row, escaped
from speechllm_bench.tasks import MAIN_METRICS, TASKS

COLUMN, PAGE = 218, 453  # in points; the narrowest of IEEE, ISCA and ACL (`figures.VENUES`), which is ACL
SIZES, BETWEEN = (8, 7), 4  # in points: font sizes, the first that fits is taken; space between columns
WIDE = dict.fromkeys("±−+<", 0.78) | dict.fromkeys("mwMW", 0.85) | dict.fromkeys(". ,:ijlt_", 0.36)
WIDE |= dict.fromkeys("0123456789*‡–", 0.5)
"""Estimated widths of characters in em. Other characters have the width `LETTER`."""
LETTER = 0.54
NOTHING = "–"
FORM = r"""{provenance}
\begin{{{environment}}}
\centering\fontsize{{{size}}}{{{leading}}}\selectfont\setlength{{\tabcolsep}}{{2pt}}
\setlength{{\belowcaptionskip}}{{4pt}}
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


def table(
    study: Study, frame: pd.DataFrame, rows: Sequence[Row], profile: str, chosen: Sequence[str] | None = None
) -> str:
    """Return the table in LaTeX, with booktabs. rows: from `of_table`.

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
    labels = (looks.of(study)[line["variant"]].label for line in lines)
    cells = [[name, *(_latex_cell(line, c, metrics) for c in shown)] for name, line in zip(labels, lines)]
    ids = [_id(line, metrics, f"{profile}/{keys[line['variant']]}") for line in lines]
    body = [" & ".join(map(_escaped, row)) + rf" \\{id}" for row, id in zip(cells, ids, strict=True)]
    wide = {size: width([["Variant", *shown.values()], *cells], size) for size in SIZES}
    size = next((size for size in SIZES if wide[size] <= PAGE), SIZES[-1])
    if chosen and wide[size] > PAGE:
        told = f"the table would be {wide[size]:.0f} pt wide, and a page has {PAGE}"
        raise UserError(f"{told}; name fewer columns")
    narrow = wide[size] <= COLUMN
    return FORM.format(
        provenance=_provenance(study, rows, profile),
        size=size,
        leading=size + 1.5,
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
        found = tables.sample_sizes(*(frame[name].dropna() for name in ("n", "speakers", "seeds")))
        parts.append("{} utterances, {} speakers, {} per variant. ±: half 95% intervals.".format(*found))
    if frame["difference"].notna().any():
        label = looks.of(study)[study.baseline].label
        named = label if len(label.split()) <= 3 else study.baseline  # a caption has 40 words at most
        parts.append(f"Differences to {named}; p: Holm.")
    if frame["differs"].eq(True).any():
        parts.append(f"*: size≥{stats.LEAST_DIFFERENCE}, p<{stats.ALPHA}.")
    if "above_floors" in frame and frame["above_floors"].eq(False).any():
        parts.append("‡: below floor.")
    return " ".join(parts)


def width(cells: Sequence[Sequence[str]], size: int) -> float:
    """Estimate a table's width in points, in a font size. Each column is as wide as its widest cell."""
    widest = [max(sum(WIDE.get(c, LETTER) for c in cell) for cell in column) for column in zip(*cells)]
    return size * sum(widest) + BETWEEN * (len(widest) - 1)


def _escaped(text: str) -> str:
    return escaped(text).replace("±", r"$\pm$").replace("‡", r"\ddag{}").replace("≥", r"$\geq$")


def _latex_cell(line: Mapping, name: str, metrics: Sequence[str]) -> str:
    value = line[name]
    if pd.isna(value):
        lacking = metrics and name == metrics[0] and all(pd.isna(line[metric]) for metric in metrics)
        return line["status"] if lacking else NOTHING
    if isinstance(value, str):
        return value
    if name in tables.SHOWN_PER_CENT or pd.isna(line.get(f"{name}_low")):
        return tables.plain(name, value)
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
