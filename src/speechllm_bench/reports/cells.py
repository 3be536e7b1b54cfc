"""Cells of a study's tables with their ids, for `numbers.json` (`storage.numbers`).

Ids rest on names and keys: of variants, axis values, metrics and columns. Labels and headings that readers
see can be reworded without changing an id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from speechllm_bench import stats
from speechllm_bench.planning import identity
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import tables
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage import numbers
from speechllm_bench.storage.numbers import Cell, Row

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
            cells["compared"] = Cell(line["compared"])
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

    The name of a row is the name of the table and the row's leading text columns, such as
    `traces:hybrid_think`. `attrs["keys"]` of the table maps a label or heading to its key, which the id has
    in its place.
    """
    labels, keys = _labels(shown), shown.attrs.get("keys", {})
    rests_on = shown.attrs.get("rests_on", {})  # where a row is made of more variants than the one it names
    found: dict[str, Row] = {}
    for line in shown.astype(str).to_dict("records"):
        words = [line[label] for label in labels]
        variant = words[0] if words and words[0] in study.variants else None
        name = ":".join([ending, *(w if w == variant else slug(keys.get(w, w)) for w in words)])
        about = _about(rows, rests_on.get(variant, [variant]) if variant else study.variants)
        key = f"{study.study}/{name}/{test_set(study, variant) if variant else 'all'}"
        read = {slug(keys.get(c, c)): _read(line[c]) for c in shown if c not in labels}
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

    Seeds are those with a score of every variant. Where a variant has no score, they are those that were run.
    """
    variants = set(variants)
    mine = [row for row in rows if row["variant"] in variants and row["record"]]
    records = [row["record"] for row in mine]
    scored = [{row["seed"] for row in mine if row["variant"] == one and row["score"]} for one in variants]
    made_of: dict[str, str | int] = {}
    for row in mine:
        if row.get("run"):
            made_of |= identity.components(row["run"].config)
        made_of |= {f"metric {name}": v for name, v in (row["score"] or {}).get("versions", {}).items()}
    return {
        "seeds": tuple(
            sorted(set.intersection(*scored) if scored and all(scored) else {row["seed"] for row in mine})
        ),
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
