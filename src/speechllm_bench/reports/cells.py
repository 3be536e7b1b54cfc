"""Cells of a study's tables with their ids: in `numbers.json` (`storage.numbers`) and in LaTeX for a paper.

A table in LaTeX has label, main metric, difference, p and the value that the paper reports. It fits one or
both columns of a two-column page; the CSV beside it has every number. Each row ends in a comment with the id
of its number. `speechllm-bench check` compares the number by that id when the table is part of a paper.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from speechllm_bench import stats
from speechllm_bench.errors import UserError
from speechllm_bench.planning import identity
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import looks, tables
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage import numbers
from speechllm_bench.storage.numbers import Cell, Row, escaped
from speechllm_bench.tasks import MAIN_METRICS, TASKS

NO_CELLS = (
    *("variant", "status", "n", "speakers", "seeds"),
    *("floor", "partial_match_version", "difference_seeds"),
)
"""Columns that are not cells: they fill a field of the row, or qualify another column."""
MARKS = str.maketrans("", "", "*†‡")
_NUMBER = re.compile(r"([+-]?[\d,]*\.?\d+)(?: \[([+-]?[\d.]+), ([+-]?[\d.]+)\])?")


def of_study(
    study: Study,
    rows: Sequence[Result],
    frame: pd.DataFrame,
    verdicts: pd.DataFrame,
    further: Mapping[str, pd.DataFrame],
) -> list[Row]:
    """Return all rows of a study's tables. `further` maps a file ending to each additional table."""
    found = [*of_table(study, rows, frame), *of_claims(study, rows, frame, verdicts)]
    return found + [
        row for ending, shown in further.items() for row in of_further(study, rows, ending, shown)
    ]


def of_table(study: Study, rows: Sequence[Result], frame: pd.DataFrame) -> list[Row]:
    """Return one row per variant of the study's main table, with unrounded values."""
    found = []
    for line in frame.to_dict("records"):
        variant = line["variant"]
        cells = {name: cell for name in frame if (cell := _cell(line, name)) is not None}
        about = _about(rows, [variant]) | {k: _whole(line.get(k)) for k in ("n", "speakers")}
        key = f"{study.study}/{variant}/{test_set(study, variant)}"
        found.append(Row(key, study.study, line["status"], **about, cells=cells))
    return found


def of_claims(study: Study, rows: Sequence[Result], frame: pd.DataFrame, verdicts: pd.DataFrame) -> list[Row]:
    """Return one row per claim, named by the variants that it compares, such as `mlp_lora-mlp`."""
    sizes = frame.set_index("variant")[["n", "speakers"]]
    found = []
    for claim, line in zip(study.claims, verdicts.to_dict("records"), strict=True):
        cells = {"verdict": Cell(line["verdict"])}
        if pd.notna(line["difference"]):
            value, low, high = (numbers.rounded(line[k]) for k in ("difference", "low", "high"))
            cells["difference"] = Cell(stats.with_interval(value, low, high, "+"), value, low, high)
        if pd.notna(line["p"]):
            cells["p"] = Cell(stats.p_shown(line["p"]), numbers.rounded(line["p"]))
        cells |= {name: Cell(line[name]) for name in ("diverged", "reversed_by") if line[name]}
        about = _about(rows, claim.variants) | {k: _whole(v) for k, v in sizes.loc[claim.better].items()}
        status = "ok" if "difference" in cells else line["verdict"]
        key = f"{study.study}/{claim_row(claim.variants)}/{test_set(study, claim.better)}"
        found.append(Row(key, f"{study.study}_claims", status, **about, cells=cells))
    return found


def of_further(study: Study, rows: Sequence[Result], ending: str, shown: pd.DataFrame) -> list[Row]:
    """Return the rows of an additional text table of the study. Numbers are parsed from the printed text.

    The name of a row is the name of the table and the row's leading text columns, such
    as `traces:hybrid_think`.
    """
    labels = _labels(shown)
    rests_on = shown.attrs.get("rests_on", {})  # where a row is made of more variants than the one it names
    found: dict[str, Row] = {}
    for line in shown.astype(str).to_dict("records"):
        words = [line[label] for label in labels]
        variant = words[0] if words and words[0] in study.variants else None
        name = ":".join([ending, *(word if word == variant else slug(word) for word in words)])
        about = _about(rows, rests_on.get(variant, [variant]) if variant else study.variants)
        key = f"{study.study}/{name}/{test_set(study, variant) if variant else 'all'}"
        read = {slug(column): _read(line[column]) for column in shown if column not in labels}
        cells = {column: cell for column, cell in read.items() if cell is not None}
        found[key] = Row(key, f"{study.study}_{ending}", "ok", **about, cells=cells)
    return list(found.values())


def claim_row(variants: Iterable[str]) -> str:
    """Return the row name of a claim from its variants: better, worse and those of `beyond`."""
    return "-".join(variants)


def test_set(study: Study, variant: str) -> str:
    """Return the test set of a variant: A, B-ID, B-OOD, ... For B it tells which slot types are asked for."""
    asked = study.variant(variant).evaluation
    name, ood = asked.split.removesuffix("-test"), asked.slot_types == "out_of_domain"
    if name == "B":
        return "B-OOD" if ood else "B-ID"
    return f"{name}-OOD" if ood else name


def slug(text: str) -> str:
    """Return the text as part of an id: letters, digits, underscores, dots and hyphens."""
    text = text.replace("%", " percent ").replace("+", " plus ")
    return re.sub(r"[^\w.-]+", "_", text.lower()).strip("_") or "_"


def _labels(shown: pd.DataFrame) -> list[str]:
    """Return the leading columns that name a row: the text columns, and more until no two rows are equal."""
    columns_ = list(shown)
    worded = [not shown[c].map(lambda v: v == "–" or bool(_NUMBER.fullmatch(str(v)))).any() for c in columns_]
    n = max(1, worded.index(False) if False in worded else len(columns_))
    while n < len(columns_) and shown[columns_[:n]].duplicated().any():
        n += 1
    return columns_[:n]


def _cell(line: Mapping, column: str) -> Cell | None:
    value = line[column]
    ends = column.endswith(("_low", "_high"))
    if column in NO_CELLS or ends or (not isinstance(value, str | bool) and pd.isna(value)):
        return None
    if isinstance(value, str | bool):
        return Cell(str(value))
    if column in tables.WHOLE:
        return Cell(tables.plain(column, int(value)), int(value))
    value = numbers.rounded(float(value))
    if f"{column}_low" in line and pd.notna(line[f"{column}_low"]):
        low, high = (numbers.rounded(line[f"{column}_{end}"]) for end in ("low", "high"))
        if column in tables.SHOWN_PER_CENT:
            shown = f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        else:
            shown = stats.with_interval(value, low, high, "+" if column == "difference" else "")
        return Cell(shown, value, low, high)
    return Cell(tables.plain(column, value), value)


def _read(shown: str) -> Cell | None:
    """Parse a cell of a text table. None where the cell is empty or a dash."""
    shown = shown.translate(MARKS)
    if shown in ("", "–", "nan"):
        return None
    found = _NUMBER.fullmatch(shown)
    values = [float(part.replace(",", "")) for part in found.groups() if part] if found else []
    return Cell(shown, *values)


def _about(rows: Sequence[Result], variants: Iterable[str]) -> dict:
    """Return the provenance of these variants' numbers: seeds, runs, commits, machines
    and versions of components.
    """
    variants = set(variants)
    mine = [row for row in rows if row["variant"] in variants and row["record"]]
    records = [row["record"] for row in mine]
    made_of: dict[str, str | int] = {}
    for row in mine:
        if row.get("run"):
            made_of |= identity.components(row["run"].config)
        made_of |= {f"metric {name}": v for name, v in (row["score"] or {}).get("versions", {}).items()}
    return {
        "seeds": tuple(sorted({row["seed"] for row in mine})),
        "runs": tuple(dict.fromkeys(row["run"].digest for row in mine if row.get("run"))),
        "commits": _distinct(map(_commit, records)),
        "machines": _distinct(map(_machine, records)),
        "made_of": made_of,
    }


def _commit(record: Mapping) -> str | None:
    made = record.get("environment", {})
    commit = made.get("commit")
    return commit and commit + ("-dirty" if made.get("uncommitted_changes") else "")


def _machine(record: Mapping) -> str:
    processor = record.get("gpu") or record.get("environment", {}).get("processor")
    return " ".join(filter(None, (record["device_kind"], processor)))


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))


def _whole(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(value)


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


def latex(
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
    wide = width([["Variant", *shown.values()], *cells])
    if chosen and wide > PAGE:
        raise UserError(f"the table would be {wide:.0f} pt wide, and a page has {PAGE}; name fewer columns")
    narrow = wide <= COLUMN
    return FORM.format(
        provenance=_provenance(study, rows, profile),
        environment="table" if narrow else "table*",
        caption=_escaped(latex_caption(study, frame, profile)),
        study=study.study,
        aligned="r" * len(shown),
        head=" & ".join(["Variant", *map(_escaped, shown.values())]),
        body="\n".join(body),
    )


def latex_caption(study: Study, frame: pd.DataFrame, profile: str) -> str:
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


def width(cells: Sequence[Sequence[str]]) -> float:
    """Estimate the width of a table of these cells in points. Each column is as wide as its widest cell."""
    widest = [max(sum(WIDE.get(c, LETTER) for c in cell) for cell in column) for column in zip(*cells)]
    return SIZE * sum(widest) + BETWEEN * (len(widest) - 1)


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
