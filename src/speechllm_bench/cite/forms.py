"""Forms of a cited number: plain text, LaTeX, or Markdown."""

from __future__ import annotations

from speechllm_bench.storage.numbers import Number, escaped

SHORT = 12  # hex digits of a commit
OF_CLAIMS = ("compared", "verdict", "reversed_by")
"""Cells that belong to the difference of a claim."""


def as_text(number: Number) -> str:
    """Return the number with its provenance, one line per fact."""
    row = number.row
    lines = [f"{number.id} = {number.cell.shown}", f"  table: {_table(number)}"]
    lines.append(f"  status: {row.status}; {rests_on(number)}")
    if number.column == "difference":  # of a claim; rows of variants have no such cells
        lines += [
            f"  {key.replace('_', ' ')}: {row.cells[key].shown}" for key in OF_CLAIMS if key in row.cells
        ]
    for name, values in (("run", row.runs), ("commit", row.commits), ("machine", row.machines)):
        if values:
            lines.append(f"  {_several(name, len(values))}: {', '.join(values)}")
    return "\n".join(lines)


def as_latex(number: Number) -> str:
    """Return the number with its id in a LaTeX comment, which `speechllm-bench check` reads."""
    return f"{escaped(number.cell.shown).replace(' [', '~[')} % {number.id}"


def as_markdown(number: Number) -> str:
    """Return the number with a link to its table."""
    commits = ", ".join(commit[:SHORT] for commit in number.row.commits)
    about = "; ".join(filter(None, [rests_on(number), commits and f"commit {commits}"]))
    return f"{number.cell.shown} ([{number.id}]({_table(number)}); {about})"


FORMS = {"text": as_text, "latex": as_latex, "markdown": as_markdown}


def rests_on(number: Number) -> str:
    """Return the numbers of utterances, speakers and seeds as a phrase."""
    row = number.row
    parts = [f"n = {row.n} utterances of {row.speakers} speakers"] if row.n else []
    return ", ".join([*parts, _several("seed", len(row.seeds), counted=True)])


def _table(number: Number) -> str:
    return f"results/{number.profile}/tables/{number.row.table}.md"


def _several(name: str, n: int, counted: bool = False) -> str:
    word = name if n == 1 else f"{name}s"
    return f"{n} {word}" if counted else word
