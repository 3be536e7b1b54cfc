"""Verdicts of `small` under a larger variance between seeds. Writes benchmarks/seed_sensitivity.md.

    python benchmarks/seed_sensitivity.py

Needs the records of `small`; takes about two minutes on one core. Rows of one seed take their variance
between seeds from `mini`. Four trainings of the SpeechLLM of `small` differ by more on validation turns.
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from speechllm_bench.evaluation import seeds
from speechllm_bench.planning import studies
from speechllm_bench.reports import claims
from speechllm_bench.storage import runs
from speechllm_bench.tasks import TASKS

PROFILE, METRIC = "small", "f1_v2"
LARGER = 0.021  # standard deviation of F1 on 100 validation turns: 0.501, 0.542, 0.512 and 0.542
PAGE = Path(__file__).with_name("seed_sensitivity.md")
TEXT = """# Verdicts under a larger variance between seeds

Tested claims about slots at profile `{profile}`, by `python benchmarks/seed_sensitivity.py`. Rows of one seed
take the standard deviation of F1 between seeds from `mini`: {usual:.3f}. Four trainings of the SpeechLLM of
`small`, with one seed and the same settings, have {larger:.3f} on 100 validation turns. On the 300 turns of
A-test three of them have 0.005. p is after Holm's correction. With {larger:.3f} for every trained system,
{n_changed} of {n} verdicts change. They are marked with an arrow.

{table}
"""


def verdicts() -> pd.DataFrame:
    """Return study, claim, difference, p and verdict of the tested claims."""
    found = []
    for name in studies.known_studies():
        study, _ = studies.load(name, PROFILE)
        if study.claims:
            judged = claims.verdicts(study, studies.records(name, PROFILE)).assign(study=name)
            tasks = [study.variant(claim.better).evaluation.task for claim in study.claims]
            judged["metric"] = [TASKS[task].main.name for task in tasks]
            found.append(judged)
    frame = pd.concat(found, ignore_index=True)
    return frame[frame["difference"].notna() & frame["metric"].eq("f1")]


def main() -> None:
    usual, known = verdicts(), seeds.table()["own"][METRIC]
    deviation = math.sqrt(known["variance"])
    known["variance"] = LARGER**2
    larger = verdicts()
    lines = []
    for (_, before), (_, after) in zip(usual.iterrows(), larger.iterrows(), strict=True):
        same = before["verdict"] == after["verdict"]
        shown = before["verdict"] if same else f"{before['verdict']} → {after['verdict']}"
        difference = f"{before['difference']:+.3f}"
        lines.append((before["study"], before["claim"], difference, *map(_p, (before, after)), shown))
    columns = ["study", "claim", "difference", f"p at {deviation:.3f}", f"p at {LARGER}", "verdict"]
    table = tabulate(lines, columns, tablefmt="github", disable_numparse=True)
    changed = sum("→" in line[-1] for line in lines)
    told = {"profile": PROFILE, "usual": deviation, "larger": LARGER, "n": len(lines), "table": table}
    runs.write_text(PAGE, TEXT.format(**told, n_changed=changed))
    print(table)


def _p(row: pd.Series) -> str:
    return f"{row['p']:.3f}"


if __name__ == "__main__":
    main()
