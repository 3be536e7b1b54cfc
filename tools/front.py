"""Generates the numbers of the README from recorded tables: the answer of the first figure, and the findings.

No number is typed by hand. The sentences of sentences.yaml name variants, whose main metric the tables give.
`{a__f1_v1}` is another column of variant a, and `{a__against__b}` the verdict on the claim that a is ahead
of b.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[1]
PROFILES = ("small", "mini")  # the first one with a record is shown
METRICS = ("f1", "ner_f1", "wer")  # a variant has one of them

TEXTS = yaml.safe_load(Path(__file__).with_name("sentences.yaml").read_text("utf-8"))


def answer() -> str:
    """Return the first existing figure, by profile and then by study, and the answer that it gives."""
    for profile in PROFILES:
        for study, about in TEXTS["first"].items():
            image = f"results/{profile}/figures/{about['figure']}.png"
            rows = rows_of(profile, study)
            said = _sentences(profile, study, about["sentences"])
            if not (PROJECT / image).is_file() or not said:
                continue
            told = " ".join(said)
            seeds = max(int(row["seeds"]) for row in rows.values() if row["seeds"])
            n, speakers = (
                max(int(row[key]) for row in rows.values() if row[key]) for key in ("n", "speakers")
            )
            rests_on = (
                f"Study `{study}`, profile `{profile}`, {n} test turns of {speakers} speakers, "
                f"{seeds} seed{'s' * (seeds > 1)} per variant."
            )
            drawn = "Vertical lines are 95 % intervals ([all figures](docs/glossary.md#figures))."
            return f'<img src="{image}" width="560" alt="F1 in study {study}">\n\n*{told}* {rests_on} {drawn}'
    return "No study of the first screen has a record yet."


def found(profile: str) -> str:
    """Return a list with one item per study whose first sentence has all its numbers, and how to read it."""
    lines, widths = [], []
    for study, parts in TEXTS[profile].items():
        if said := _sentences(profile, study, parts):
            lines.append(f"- {' '.join(said)}")
            named = set(re.findall(r"{(\w+)}", " ".join(parts)))
            widths += [_width(row) for name, row in rows_of(profile, study).items() if name in named]
    reading = (
        "In brackets is the verdict on what the paper claims. The numbers' 95 % intervals reach up to "
        f"{max(widths, default=0):.3f} to each side."
    )
    return "\n".join([*lines, "", reading])


def _sentences(profile: str, study: str, parts: list[str]) -> list[str]:
    """Return the filled sentences; none where the first one lacks a number."""
    rows, verdicts = rows_of(profile, study), verdicts_of(profile, study)
    said = [filled(text, rows, verdicts) for text in parts]
    return [one for one in said if one] if said[0] else []


def _width(row: Mapping[str, str]) -> float:
    """Return the longer side of the interval of a variant's main metric; 0 without one."""
    name = next((m for m in METRICS if row.get(m)), None)
    ends = [abs(float(row[f"{name}_{end}"]) - float(row[name])) for end in ("low", "high")] if name else [0.0]
    return max(ends)


def rows_of(profile: str, study: str) -> dict[str, dict]:
    """Return variant -> row of a recorded table. Empty if there is no table."""
    file = PROJECT / "results" / profile / "tables" / f"{study}.csv"
    if not file.is_file():
        return {}
    with open(file, encoding="utf-8", newline="") as table:
        return {row["variant"]: row for row in csv.DictReader(table)}


def verdicts_of(profile: str, study: str) -> dict[str, str]:
    """Return `a__against__b` -> recorded verdict on the claim that variant a is ahead of b."""
    file = PROJECT / "results" / profile / "numbers.json"
    rows = json.loads(file.read_text("utf-8"))["rows"] if file.is_file() else {}
    found = ((key.split("/"), row["cells"].get("verdict")) for key, row in rows.items())
    return {
        row.replace("-", "__against__"): cell["shown"]
        for (of, row, *_), cell in found
        if of == study and cell and row.count("-") == 1
    }


def filled(text: str, rows: dict[str, dict], verdicts: Mapping[str, str] | None = None) -> str:
    """Return the text with its numbers and verdicts filled in. Empty if one is missing."""
    shown = dict(verdicts or {})
    for name, row in rows.items():
        numbers = {f"{name}__{column}": value for column, value in row.items() if _is_number(value)}
        main = [row[m] for m in METRICS if row.get(m)]
        shown |= {key: _rounded(value) for key, value in numbers.items()}
        shown |= {name: _rounded(main[0])} if main else {}
    return text.format_map(shown) if set(re.findall(r"{(\w+)}", text)) <= set(shown) else ""


def _is_number(text: str | None) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text or ""))


def _rounded(number: str) -> str:
    value = float(number)
    return f"{value:.0f}" if value >= 10 else f"{value:.3f}"
