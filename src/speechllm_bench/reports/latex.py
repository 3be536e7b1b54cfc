"""A study's tables in LaTeX, for a paper: its variants, and the claims that it tests.

They fit one or both columns of a two-column page; the CSV or Markdown beside them has every number. Each row
ends in a comment with the id of its number. `speechllm-bench check` compares the number by that id when the
table is part of a paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from speechllm_bench import stats
from speechllm_bench.errors import UserError
from speechllm_bench.reports import looks, tables
from speechllm_bench.settings.experiments import Study
from speechllm_bench.stats import ONE_SEED
from speechllm_bench.storage.numbers import Row, escaped
from speechllm_bench.tasks import MAIN_METRICS, TASKS

COLUMN, PAGE = 218, 453  # in points; the narrowest of IEEE, ISCA and ACL (`figures.VENUES`), which is ACL
SIZES, BETWEEN = (8, 7), 4  # in points: font sizes, the first that fits is taken; space between columns
WIDE = dict.fromkeys("±−+<", 0.78) | dict.fromkeys("mwMW", 0.85) | dict.fromkeys(". ,:ijlt_", 0.36)
WIDE |= dict.fromkeys("0123456789*‡–", 0.5)
"""Estimated widths of characters in em. Other characters have the width `LETTER`."""
LETTER = 0.54
NOTHING = "–"
BROKEN = r">{{\raggedright\arraybackslash}}p{{{}pt}}"
"""A column whose texts are broken into lines; needs the package array."""
SHORT = {"Verdict": 60, "Reversed by": 62}  # in points: widths of such columns whose words are short
DIVERGED = 84  # the same, of the differences where one is a text on divergence, which is broken too
OF_CLAIM = 0.56  # a claim's share of the remaining width; what it compares has the rest
FORM = r"""{provenance}
\begin{{{environment}}}
\centering\fontsize{{{size}}}{{{leading}}}\selectfont\setlength{{\tabcolsep}}{{2pt}}
\setlength{{\belowcaptionskip}}{{4pt}}
\caption{{{caption}}}
\label{{tab:{label}}}
\begin{{tabular}}{{@{{}}{aligned}@{{}}}}
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
        provenance=_provenance(study, rows, profile, "booktabs", f"All columns: {study.study}.csv"),
        size=size,
        leading=size + 1.5,
        environment="table" if narrow else "table*",
        caption=_escaped(caption(study, frame, profile)),
        label=study.study,
        aligned="l" + "r" * len(shown),
        head=" & ".join(["Variant", *map(_escaped, shown.values())]),
        body="\n".join(body),
    )


def claims_table(study: Study, verdicts: pd.DataFrame, rows: Sequence[Row], profile: str) -> str | None:
    """Return the claims of a study in LaTeX, with booktabs and array. None where no claim was tested.

    verdicts: from `claims.verdicts`. rows: from `cells.of_claims`, in the same order. The table is as wide as
    a page, and its texts are broken into lines.
    """
    if verdicts["difference"].isna().all() and verdicts["diverged"].eq("").all():
        return None
    labels = {name: look.label for name, look in looks.of(study).items()}
    lines = verdicts.to_dict("records")
    columns = {
        "Claim": [line["claim"] for line in lines],
        "Compared": [study.compared(claim, labels) for claim in study.claims],
        "Difference": [_claimed(line) for line in lines],
        "p": [stats.p_shown(line["p"]) if pd.notna(line["p"]) else NOTHING for line in lines],
        "Verdict": [line["verdict"] for line in lines],
        "Reversed by": [line["reversed_by"] or NOTHING for line in lines],
    }
    if not verdicts["reversed_by"].any():
        del columns["Reversed by"]
    ids = [f" % {profile}/{row.key}/difference" if "difference" in row.cells else "" for row in rows]
    body = zip(*columns.values(), strict=True)
    size = SIZES[-1]
    files = f"Sources of all claims: {study.study}_claims.md"
    return FORM.format(
        provenance=_provenance(study, rows, profile, "booktabs and array", files),
        size=size,
        leading=size + 1.5,
        environment="table*",
        caption=_escaped(claims_caption(study, verdicts, rows, profile)),
        label=f"{study.study}_claims",
        aligned=_aligned(columns, size),
        head=" & ".join(columns),
        body="\n".join(
            " & ".join(map(_escaped, line)) + rf" \\{id}" for line, id in zip(body, ids, strict=True)
        ),
    )


def claims_caption(study: Study, verdicts: pd.DataFrame, rows: Sequence[Row], profile: str) -> str:
    """Return the caption of the claims, of at most 50 words: what is shown, and the sample sizes."""
    parts = [*filter(None, [tables.smoke_mark(profile)]), f"{study.title}: claims ({profile})."]
    if scored := [row for row in rows if row.n and row.speakers]:
        numbers = zip(*((row.n, row.speakers, len(row.seeds)) for row in scored), strict=True)
        parts.append("{} utterances, {} speakers, {}.".format(*tables.sample_sizes(*numbers)))
    parts.append("±: half 95% intervals; p: Holm.")
    if verdicts["seeds"].eq(1).any():
        parts.append(f"{ONE_SEED}: one seed.")
    if verdicts["reversed_by"].any():
        parts.append("Reversed by: other scores, whose whole interval lies beyond 0.")
    return " ".join(parts)


def _claimed(line: Mapping) -> str:
    """Return the difference of a claim, or what diverged."""
    if pd.isna(line["difference"]):
        return line["diverged"] or NOTHING
    mark = ONE_SEED if line["seeds"] == 1 else ""
    return f"{line['difference']:+.3f}{mark} ± {(line['high'] - line['low']) / 2:.3f}"


def _aligned(columns: Mapping[str, Sequence[str]], size: int) -> str:
    """Return how the columns of the claims are set. Those of texts share what the others leave of a page."""
    fixed = {name: width([[name], *([cell] for cell in columns[name])], size) for name in ("Difference", "p")}
    broken: dict[str, float] = {name: SHORT[name] for name in columns if name in SHORT}
    if fixed["Difference"] > DIVERGED:
        broken["Difference"] = DIVERGED
        del fixed["Difference"]
    left = PAGE - BETWEEN * (len(columns) - 1) - sum(fixed.values()) - sum(broken.values())
    broken |= {"Claim": OF_CLAIM * left, "Compared": (1 - OF_CLAIM) * left}
    return "".join("r" if name in fixed else BROKEN.format(int(broken[name])) for name in columns)


def caption(study: Study, frame: pd.DataFrame, profile: str) -> str:
    """Return a caption of at most 50 words: what is shown, and the sample sizes."""
    parts = [*filter(None, [tables.smoke_mark(profile)]), f"{study.title} ({profile})."]
    if frame["n"].notna().any():
        found = tables.sample_sizes(*(frame[name].dropna() for name in ("n", "speakers", "seeds")))
        parts.append("{} utterances, {} speakers, {} per variant. ±: half 95% intervals.".format(*found))
    if frame.get("partial_match_version", pd.Series()).notna().any():
        parts.append(f"F1: partial match, version {frame['partial_match_version'].max():.0f}.")
    if frame["difference"].notna().any():
        label = looks.of(study)[study.baseline].label
        named = label if len(label.split()) <= 3 else study.baseline  # a caption has 50 words at most
        parts.append(f"Differences to {named}; p: Holm.")
    if frame["differs"].eq(True).any():
        parts.append(f"*: size≥{stats.LEAST_DIFFERENCE}, p<{stats.ALPHA}.")
    if "above_floors" in frame and frame["above_floors"].eq(False).any():
        parts.append("‡: not above floors.")
    return " ".join(parts)


def width(cells: Sequence[Sequence[str]], size: int) -> float:
    """Estimate a table's width in points, in a font size. Each column is as wide as its widest cell."""
    widest = [max(sum(WIDE.get(c, LETTER) for c in cell) for cell in column) for column in zip(*cells)]
    return size * sum(widest) + BETWEEN * (len(widest) - 1)


def _escaped(text: str) -> str:
    return (
        escaped(text)
        .replace("±", r"$\pm$")
        .replace("‡", r"\ddag{}")
        .replace("≥", r"$\geq$")
        .replace("†", r"\dag{}")
    )


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


def _provenance(study: Study, rows: Sequence[Row], profile: str, packages: str, beside: str) -> str:
    commits = sorted({commit for row in rows for commit in row.commits})
    lines = [
        f"Written by `speechllm-bench report {study.study} --profile {profile}`; needs {packages}.",
        f"{beside}; runs and machines: numbers.json.",
        *([f"Commits: {', '.join(commits)}"] if commits else []),
    ]
    return "\n".join(f"% {line}" for line in lines)
