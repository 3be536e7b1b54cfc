"""The ledger of claims: every figure and claim that the papers report, next to the results of each profile.

`experiments/papers/claims.yaml` lists what is reported and where the suite measures or tests it. Numbers and
verdicts come from each profile's numbers.json. This module computes no numbers itself.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib import figure as mpl_figure

from speechllm_bench.evaluation.versions import shown_version
from speechllm_bench.reports import figures, looks, tables
from speechllm_bench.reports.claims import BELOW_FLOOR, decided
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.settings.reported import Entry, Ledger, ReportedClaim, ReportedFigure
from speechllm_bench.settings.strict import load_yaml
from speechllm_bench.storage import numbers, paths, runs
from speechllm_bench.storage.numbers import Cell, Row

NOT_TESTED = "no study tests it"
OTHER_SCALE = "another scale"
COLUMNS = (
    *("id", "paper", "where", "reported_as", "value", "to", "condition"),
    *("profile", "number", "shown", "measured", "low", "high", "p", "above_floors", "reversed_by", "verdict"),
)
_NUMBERS = ("value", "to", "measured", "low", "high", "p")
READING = (
    "This page lists the figures and claims of the three papers, with the findings of each profile. "
    "Reported figures have the paper's scale and data. Ours have the profile's backbones and corpus, so "
    "only profile `paper` tries to reach the same number. A claim has one verdict for each comparison that "
    "tests it (rule 14 of docs/protocol.md). Some are reversed by other scores, and a cell counts these. "
    "[claims.csv](claims.csv) has all comparisons with their ids."
)

HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>speechllm-bench: claims</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
img { max-width: 100%; background: white; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #8886; text-align: left; vertical-align: top; }
</style>
<h1>Claims</h1>"""


def file() -> Path:
    return paths.EXPERIMENTS / "papers" / "claims.yaml"


def write(names: Sequence[str]) -> list[Path]:
    """Write results/claims.csv, .md, .html and, where an F1 was measured, a picture. Return the paths.

    names: the profiles to include.
    """
    if not file().is_file():
        return []
    ledger = load_yaml(Ledger, file())
    frame = judged(ledger, {name: numbers.read(name) for name in names})
    folder = paths.home() / "results"
    runs.write_text(
        folder / "claims.csv", frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    )
    picture = picture_of(ledger, frame)
    pages = {"md": _markdown, "html": _html}
    for ending, page in pages.items():
        runs.write_text(folder / f"claims.{ending}", page(ledger, frame, names, picture is not None))
    written = [folder / "claims.csv", *(folder / f"claims.{ending}" for ending in pages)]
    if picture is not None:
        marked = next((name for name in names if tables.smoke_mark(name)), names[0])
        written += figures.save(picture, folder, "claims", marked)
        plt.close(picture)
    return written


def judged(ledger: Ledger, found: Mapping[str, Mapping[str, Row]]) -> pd.DataFrame:
    """Return one row per entry, profile and place where it is measured or tested, or one
    row if there is no place.

    found: the rows of each profile's numbers.json.
    """
    lines = []
    for profile, rows in (found or {"": {}}).items():
        for figure in ledger.figures:
            about = _about(figure, figure.cell, profile) | {"value": figure.value, "to": figure.to}
            lines += [about | _measured(figure, key, profile, rows) for key in figure.measured] or [
                about | {"verdict": NOT_TESTED}
            ]
        for claim in ledger.claims:
            about = _about(claim, claim.claim, profile)
            judged = [_tested(key, profile, rows) for key in claim.tested]
            judged += [_in_range(claim.within, key, profile, rows) for key in claim.measured if claim.within]
            lines += [about | one for one in judged] or [about | {"verdict": NOT_TESTED}]
    return pd.DataFrame(lines, columns=COLUMNS).astype(dict.fromkeys(_NUMBERS, float))


def picture_of(ledger: Ledger, frame: pd.DataFrame) -> mpl_figure.Figure | None:
    """Draw the reported F1 and the measured F1 with its interval, in panels with the same limits.

    A hollow marker is a model that does not clear its floors.
    """
    of_f1 = frame["number"].map(lambda id: str(id).endswith("/f1")) & frame["measured"].notna()
    shown = frame[of_f1].drop_duplicates(["id", "profile"])
    if shown.empty:
        return None
    names, order = list(dict.fromkeys(shown["profile"])), list(dict.fromkeys(shown["id"]))[::-1]
    labels = shown.drop_duplicates("id").set_index("id")["reported_as"]
    place = {id: i for i, id in enumerate(order)}
    blue = looks.COLOURS["blue"]
    with mpl.rc_context(figures.STYLE):
        size = (figures.WIDTHS["page"], 0.6 + 0.2 * len(order))
        figure, axes = plt.subplots(1, 1 + len(names), sharey=True, figsize=size, squeeze=False)
        first = shown.drop_duplicates("id")
        axes[0, 0].plot(first["value"], first["id"].map(place), "D", color="0.35", ms=4)
        axes[0, 0].set_title("reported,\nat the paper's scale")
        axes[0, 0].set_yticks(range(len(order)), [labels[id].removesuffix(", F1") for id in order])
        axes[0, 0].set_ylim(-0.6, len(order) - 0.4)  # keeps markers from being cut off
        for ax, name in zip(axes[0, 1:], names, strict=True):
            own = shown[shown["profile"] == name]
            bars = [(own["measured"] - own["low"]).fillna(0), (own["high"] - own["measured"]).fillna(0)]
            places = own["id"].map(place)
            ax.errorbar(own["measured"], places, xerr=bars, fmt="", ls="", color=blue, capsize=2)
            for where, fill in ((own["above_floors"] == "no", "white"), (own["above_floors"] != "no", blue)):
                ax.plot(own["measured"][where], places[where], "o", ms=4, color=blue, mfc=fill)
            ax.set_title(f"measured, {name}\n(F1, version {shown_version(name)})")
        if shown["above_floors"].eq("no").any():
            figure.supxlabel("hollow: not above the floors", fontsize=7, color="0.35")
        for ax in axes[0]:
            ax.set_xlim(0, 1.05 * max(first["value"].max(), shown["high"].max()))
            ax.set_xlabel(figures.METRIC_LABELS["f1"])
        return figure


def _about(entry: Entry, said: str, profile: str) -> dict:
    return {
        "id": entry.id,
        "paper": entry.paper,
        "where": entry.where,
        "reported_as": said,
        "condition": entry.condition,
        "profile": profile or None,
    }


def _measured(figure: ReportedFigure, key: str, profile: str, rows: Mapping[str, Row]) -> dict:
    row_key, _, column = key.rpartition("/")
    row = rows.get(row_key)
    cell = row.cells.get(column) if row else None
    if cell is None:
        return {"number": f"{profile}/{key}" if profile else None, "verdict": "not run"}
    about = {"number": f"{profile}/{key}", **_interval(cell), "above_floors": _above_floors(row)}
    if base_profile(profile) != "paper":
        return about | {"verdict": OTHER_SCALE}
    low, high = (cell.value if end is None else end for end in (cell.low, cell.high))
    to = figure.value if figure.to is None else figure.to
    if low is None or high is None:
        raise ValueError(f"{key} is not a number")
    side = "above" if low > to else "below" if high < figure.value else "as reported"
    return about | {"verdict": side}


def _in_range(within: Sequence[float], key: str, profile: str, rows: Mapping[str, Row]) -> dict[str, Any]:
    """Judge the claim that a number lies within a range, by the number's whole interval.

    Not testable where its row says that the system does not clear its floors. As everywhere, a full verdict
    needs more than one seed (rule 14).
    """
    row_key, _, column = key.rpartition("/")
    row = rows.get(row_key)
    cell = row.cells.get(column) if row else None
    if row is None or cell is None or cell.low is None or cell.high is None:
        return {"number": f"{profile}/{key}" if profile else None, "verdict": "not run"}
    about = {"number": f"{profile}/{key}", **_interval(cell)}
    if _above_floors(row) == "no":
        return about | {"verdict": BELOW_FLOOR}
    inside = within[0] <= cell.low and cell.high <= within[1]
    outside = cell.high < within[0] or cell.low > within[1]
    return about | {"verdict": decided(inside, len(row.seeds)) if inside or outside else "inconclusive"}


def _tested(key: str, profile: str, rows: Mapping[str, Row]) -> dict:
    found = [row for row_key, row in rows.items() if row_key.startswith(f"{key}/")]
    if not found:
        return {"number": None, "verdict": "not run"}
    (row,) = found
    about: dict[str, Any] = {
        "number": f"{profile}/{row.key}/difference",
        "verdict": row.cells["verdict"].shown,
    }
    if cell := row.cells.get("difference"):
        about |= _interval(cell)
    if cell := row.cells.get("p"):
        about["p"] = cell.value
    if cell := row.cells.get("reversed_by"):
        about["reversed_by"] = cell.shown
    return about


def _above_floors(row: Row | None) -> str | None:
    """Return whether the system of a row is above its floors, "yes" or "no". None where it is not known."""
    cell = row.cells.get("above_floors") if row else None
    return {"True": "yes", "False": "no"}.get(cell.shown, cell.shown) if cell else None


def _interval(cell: Cell) -> dict:
    return {"shown": cell.shown, "measured": cell.value, "low": cell.low, "high": cell.high}


def _markdown(ledger: Ledger, frame: pd.DataFrame, names: Sequence[str], picture: bool) -> str:
    parts = [
        "# Claims",
        f"{READING}{_versions(names)}",
        *(["![Reported and measured](claims.png)"] if picture else []),
    ]
    parts += [f"**{mark}**" for name in names if (mark := tables.smoke_mark(name))]
    for paper, about in ledger.papers.items():
        parts.append(f"## {about}: [{paper}](https://arxiv.org/abs/{paper})")
        shown = _tables(ledger, paper, frame, names)
        parts += [table.to_markdown(index=False, disable_numparse=True) for table in shown]
    return "\n\n".join(parts) + "\n"


def _html(ledger: Ledger, frame: pd.DataFrame, names: Sequence[str], picture: bool) -> str:
    """Return the same page as HTML that needs no server, no script and no network."""
    said = f"{READING}{_versions(names)}".replace("`", "")
    said = said.replace("[claims.csv](claims.csv)", '<a href="claims.csv">claims.csv</a>')
    parts = [HEAD, f"<p>{said}</p>"]
    parts += ['<img src="claims.png" alt="Reported and measured F1">'] if picture else []
    parts += [f"<p><strong>{mark}</strong></p>" for name in names if (mark := tables.smoke_mark(name))]
    for paper, about in ledger.papers.items():
        address = f'<a href="https://arxiv.org/abs/{paper}">{paper}</a>'
        parts.append(f"<h2>{html.escape(about)}: {address}</h2>")
        shown = _tables(ledger, paper, frame, names)
        parts += [table.to_html(index=False, border=0, justify="left") for table in shown]
    return "\n".join([*parts, "</html>"]) + "\n"


def _versions(names: Sequence[str]) -> str:
    """Return a sentence on the version of partial match that each profile shows; empty for no profile."""
    if not names:
        return ""
    each = [f"version {shown_version(name)} at `{name}`" for name in names]
    apart = ", which cannot be compared" if len({shown_version(name) for name in names}) > 1 else ""
    return f" F1 of slots is by partial match, {' and '.join(each)}{apart}."


def _tables(ledger: Ledger, paper: str, frame: pd.DataFrame, names: Sequence[str]) -> list[pd.DataFrame]:
    """Return a table of a paper's figures and one of its claims, each with the results of every profile."""
    heads: dict[str, Sequence[ReportedFigure | ReportedClaim]] = {
        "figure": ledger.figures,
        "claim": ledger.claims,
    }
    lines = [
        [_line(head, entry, frame, names) for entry in entries if entry.paper == paper]
        for head, entries in heads.items()
    ]
    return [pd.DataFrame(some) for some in lines if some]


def _line(
    head: str, entry: ReportedFigure | ReportedClaim, frame: pd.DataFrame, names: Sequence[str]
) -> dict:
    said = entry.cell if isinstance(entry, ReportedFigure) else entry.claim
    line = {head: said, "where": entry.where or "–", "condition": entry.condition or "–"}
    if isinstance(entry, ReportedFigure):
        line["reported"] = f"{entry.value:g}" + (f" to {entry.to:g}" if entry.to else "")
    own = frame[frame["id"] == entry.id]
    for name in names:
        mine = own[own["profile"] == name]
        line[name] = _shown(mine.iloc[0]) if head == "figure" else _counted(mine)
    return line


def _shown(row: pd.Series) -> str:
    """Return a measured number as its table shows it. It has a verdict only at the paper's scale."""
    if pd.isna(row["measured"]):
        return row["verdict"]
    return row["shown"] if row["verdict"] == OTHER_SCALE else f"{row['shown']}, {row['verdict']}"


def _counted(mine: pd.DataFrame) -> str:
    """Return the number of each verdict, and how many comparisons other scores reverse."""
    counts = Counter(mine["verdict"]).items()
    against = mine["reversed_by"].notna().sum()
    said = "; ".join(said if len(mine) == 1 else f"{n} {said}" for said, n in counts)
    return f"{said} ({against} of {len(mine)} reversed by other scores)" if against else said
