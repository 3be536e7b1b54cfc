"""Compares the same runs on two machines, or made twice. Writes benchmarks/devices.md, devices_<PROFILE>.md.

    python benchmarks/devices.py HOME OTHER [PROFILE]

HOME and OTHER are the folders (SPEECHLLM_BENCH_HOME) that have `results/PROFILE`, by default of `smoke`. Runs
that both have are compared.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from speechllm_bench.planning import studies
from speechllm_bench.planning.stored_runs import predictions
from speechllm_bench.stats import with_interval
from speechllm_bench.storage import runs
from speechllm_bench.storage.outputs import read_curve


@dataclass(frozen=True)
class Stored:
    """A run as one machine has stored it."""

    name: str
    machine: str
    f1: str
    loss: float  # on validation, at the end of training
    answers: list[str]


def main(home: str, other: str, profile: str = "smoke") -> None:
    first, second = stored(home, profile), stored(other, profile)
    both = [(one, second[digest]) for digest, one in first.items() if digest in second]
    if not both:
        sys.exit(f"the two have no run of `{profile}` in common")
    command = f"python benchmarks/devices.py HOME OTHER{'' if profile == 'smoke' else ' ' + profile}"
    lines = [
        "# The same runs on two machines" if profile == "smoke" else f"# Runs of `{profile}`, made twice",
        "",
        f"Profile `{profile}`, by `{command}`: {both[0][0].machine} against {both[0][1].machine}. "
        "The columns have F1 of slots with its interval, the validation loss at the end of training, and the "
        "number of answers that are the same to the letter.",
        "",
        "| study | variant | F1 | F1 | loss | loss | answers alike |",
        "|---|---|---|---|---|---|---|",
        *(_row(*pair) for pair in both),
        "",
    ]
    name = "devices.md" if profile == "smoke" else f"devices_{profile}.md"
    runs.write_text(Path(__file__).with_name(name), "\n".join(lines))


def stored(home: str, profile: str) -> dict[str, Stored]:
    """Return digest -> run, for the trained runs in a home that have an F1 of slots."""
    os.environ["SPEECHLLM_BENCH_HOME"] = home
    found = {}
    for row in (row for study in studies.known_studies() for row in studies.records(study, profile)):
        scored = row["score"] and "f1" in row["score"]["metrics"]
        if scored and row["record"]["trained_parameters"] and row["run"].digest not in found:
            found[row["run"].digest] = _stored(row)
    return found


def _stored(row: dict) -> Stored:
    run, record, f1 = row["run"], row["record"], row["score"]["metrics"]["f1"]
    curve, where = read_curve(run.folder / "curve.csv"), record["environment"]
    losses = curve[(curve["split"] == "validation") & (curve["metric"] == "loss")]["value"]
    beside = f"{record.get('gpu') or 'a GPU'} beside " if record["device_kind"] == "cuda" else ""
    return Stored(
        name=f"`{run.study}` | `{run.variant}`",
        machine=f"{beside}{where['processor']}, torch {where['libraries']['torch']}",
        f1=with_interval(f1["value"], f1["low"], f1["high"]),
        loss=losses.iloc[-1] if len(losses) else float("nan"),
        answers=[said.raw for said in predictions(run)],
    )


def _row(one: Stored, other: Stored) -> str:
    alike = sum(a == b for a, b in zip(one.answers, other.answers, strict=True))
    losses = f"{one.loss:.4f} | {other.loss:.4f}"
    return f"| {one.name} | {one.f1} | {other.f1} | {losses} | {alike} of {len(one.answers)} |"


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
