"""Generates docs/findings.md: three sentences per study, and the verdicts of profile `mini` on the claims.

No number is typed by hand: the sentences of sentences.yaml name variants of a study, and its recorded table
gives their main metric. Where there are none, or one names a variant without a score, the page says what was
run.
"""

from __future__ import annotations

from collections.abc import Collection

import front
import papers

PROFILE = front.PROFILES[-1]


def _unsaid(rows: Collection[str], ran: set[str], floors: set[str]) -> str:
    """Return what was run of a study without sentences, or with a row missing that they need."""
    if not ran - floors:
        return f"**NOT RUN** at this profile{', except for the floors' if floors else ''}."
    return f"The table has the {len(ran)} of {len(rows)} variants that were run at this profile."


def of_paper(paper: str) -> str:
    """Return the sentences of the paper's studies with links to their tables, then a table of all claims."""
    parts, claims = [], []
    for of, study in papers.in_order():
        if of == paper:
            rows = front.rows_of(PROFILE, study.study)
            ran = {name for name, row in rows.items() if row["seeds"]}
            floors = {name for name in ran if study.variant(name).evaluation.answerer != "model"}
            said = front.filled(front.TEXTS["findings"].get(study.study, ""), rows) or _unsaid(
                rows, ran, floors
            )
            seeds = max((int(float(rows[name]["seeds"])) for name in ran - floors), default=0)
            rests_on = f"{seeds} seed{'s' * (seeds > 1)} per variant" if seeds else "no runs"
            table = f"results/{PROFILE}/tables/{study.study}.md"
            link = f", [table](../{table})" if (front.PROJECT / table).is_file() else ""
            parts.append(f"**{study.title}** (`{study.study}`, {rests_on}{link}). {said}")
            claims += _claims(study.study)
    head = ["| Study | Claim | Compared | Difference | Verdict |", "|---|---|---|---|---|"]
    return "\n\n".join([*parts, *(["\n".join([*head, *claims])] if claims else [])])


def _claims(study: str) -> list[str]:
    """Return the judged rows of a recorded table of claims, without source and p."""
    file = front.PROJECT / "results" / PROFILE / "tables" / f"{study}_claims.md"
    if not file.is_file():
        return []
    lines = [line for line in file.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [
        f"| `{study}` | {claim} | {compared} | {difference} | {', reversed by '.join([verdict, *against])} |"
        for claim, _source, compared, difference, _p, verdict, *reversed_by in rows
        for against in [[names for names in reversed_by if names != "–"]]
        if verdict != "not run"
    ]
