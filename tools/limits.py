"""Generates the lists of docs/limits.md: which studies of a profile were run, on how many seeds, and in which
arithmetic. They are read from the profile's summary, tables and records.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from front import PROJECT, rows_of


def mini() -> str:
    return _studies("mini")


def small() -> str:
    return "\n".join([_studies("small"), _arithmetic("small")])


def _studies(profile: str) -> str:
    """Return lists of studies: those of all runs by their seeds, those in part, and those without runs."""
    summary = (PROJECT / "results" / profile / "README.md").read_text("utf-8")
    ran, _, unrun = summary.partition("## NOT RUN\n")
    whole: dict[int, list[str]] = {}
    part = []
    for section in ran.split("\n## ")[1:]:
        study = section.partition(":")[0]
        found = re.search(r"(\d+) of (\d+) runs ok", section)
        if found and found[1] == found[2]:
            whole.setdefault(_seeds(profile, study), []).append(f"`{study}`")
        elif found:
            part.append(f"`{study}` ({found[1]} of {found[2]})")
    lines = [
        f"- **All runs, {seeds} seed{'s' * (seeds > 1)}:** {', '.join(names)}."
        for seeds, names in sorted(whole.items(), reverse=True)
    ]
    if part:
        lines.append(f"- **Some of the runs:** {', '.join(part)}. Rows that two studies share count in both.")
    if names := re.findall(r"^- (\w+): ", unrun, re.M):
        lines.append(f"- **NOT RUN:** {', '.join(f'`{name}`' for name in names)}.")
    return "\n".join(lines)


def _seeds(profile: str, study: str) -> int:
    rows = rows_of(profile, study).values()
    return max((int(row["seeds"]) for row in rows if row["seeds"]), default=0)


def _arithmetic(profile: str) -> str:
    """Return one item on the arithmetic of the runs in which a model answers."""
    files = (PROJECT / "results" / profile / "runs").glob("*/run.json")
    records = [json.loads(file.read_text("utf-8")) for file in files]
    answered = [record for record in records if record["config"]["evaluation"]["answerer"] == "model"]
    used = Counter(record.get("arithmetic") for record in answered)
    return (
        f"- **Arithmetic:** of {len(answered)} runs of a model, {used['bf16']} computed in bf16 and "
        f"{used['fp32']} in fp32. The records of {used[None]} earlier runs do not say."
    )
