"""Generates the lists of docs/limits.md: which studies of a profile were run, on how many seeds, and in which
arithmetic. They are read from the profile's summary, tables and records.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from front import PROJECT, rows_of


def mini() -> str:
    return "\n".join([_studies("mini"), *_uncommitted("mini")])


def small() -> str:
    parts = [
        _studies("small"),
        _arithmetic("small"),
        *_trained_twice("small", "baselines"),
        *_uncommitted("small"),
    ]
    return "\n".join(parts)


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
    if listed := re.findall(r"^- (\w+): (.*)", unrun, re.M):
        names = [f"`{name}`{' (NOT TESTABLE)' * ('NOT TESTABLE' in told)}" for name, told in listed]
        lines.append(f"- **NOT RUN:** {', '.join(names)}.")
    return "\n".join(lines)


def _seeds(profile: str, study: str) -> int:
    rows = rows_of(profile, study).values()
    return max((int(row["seeds"]) for row in rows if row["seeds"]), default=0)


def _records(profile: str) -> list[dict]:
    files = (PROJECT / "results" / profile / "runs").glob("*/run.json")
    return [json.loads(file.read_text("utf-8")) for file in files]


def _trained_twice(profile: str, study: str) -> list[str]:
    """Return one item on a stage that was trained again with the same seed; none without such a stage.

    Its ends on validation are compared with the standard deviation between seeds that intervals rest on.
    """
    page = (PROJECT / "results" / profile / "tables" / f"{study}.md").read_text("utf-8")
    ends = re.findall(r"^- Stage \w+, training .* f1 ([\d.]+)\.$", page, re.M)
    known = json.loads((PROJECT / "src/speechllm_bench/evaluation/seed_variance.json").read_text("utf-8"))
    if len(ends) < 2:
        return []
    deviation = known["own"]["f1"]["variance"] ** 0.5
    return [
        "- **Seeds.** Intervals take the standard deviation of F1 between seeds from `mini`, where it is "
        f"{deviation:.3f}. In `{study}` the SpeechLLM was trained {len(ends)} times "
        f"with one seed, and ended at F1 {' and '.join(ends)} on validation. So it may be larger here, and "
        "intervals too narrow."
    ]


def _uncommitted(profile: str) -> list[str]:
    """Return one item on runs whose code was not that of their commit; none where there is no such run."""
    records = _records(profile)
    changed = sum(bool(record["environment"].get("uncommitted_changes")) for record in records)
    said = "were made with changes that were not committed. Their commit is not all of their code."
    return [f"- **Uncommitted changes:** {changed} of {len(records)} runs {said}"] if changed else []


def _arithmetic(profile: str) -> str:
    """Return one item on the arithmetic of the runs in which a model answers."""
    records = _records(profile)
    answered = [record for record in records if record["config"]["evaluation"]["answerer"] == "model"]
    used = Counter(record.get("arithmetic") for record in answered)
    return (
        f"- **Arithmetic:** of {len(answered)} runs of a model, {used['bf16']} computed in bf16 and "
        f"{used['fp32']} in fp32. The records of {used[None]} earlier runs do not say."
    )
