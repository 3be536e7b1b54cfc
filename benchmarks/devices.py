"""The same runs on two machines, a CPU and a GPU say, side by side: writes benchmarks/devices.md.

    python benchmarks/devices.py HOME OTHER

of the folders in which each has made `results/smoke` (SPEECHLLM_BENCH_HOME); runs of both are compared.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path

from speechllm_bench import runs, studies


def main(homes: list[Path]) -> None:
    named = {run.digest: f"`{run.study}` | `{run.variant}`" for run in reversed(_plan())}
    folders = [home / "results" / "smoke" / "runs" for home in homes]
    both = [d for d in named if all((folder / d / "score.json").is_file() for folder in folders)]
    rows = [_row(named[digest], [folder / digest for folder in folders]) for digest in both]
    first, second = (_machine(next(folder.iterdir())) for folder in folders)
    lines = [
        "# The same runs on two machines",
        "",
        f"Profile `smoke`, by `python benchmarks/devices.py HOME OTHER`: {first} against {second}. F1 of "
        "slots with its interval, the validation loss at the end of training, and how many answers are the "
        "same to the letter.",
        "",
        "| study | variant | F1 | F1 | loss | loss | answers alike |",
        "|---|---|---|---|---|---|---|",
        *sorted(rows),
        "",
    ]
    runs.write_text(Path(__file__).with_name("devices.md"), "\n".join(lines))


def _plan() -> tuple[studies.Run, ...]:
    return studies.plan(studies.known_studies(), "smoke", ["all"]).runs


def _row(name: str, folders: list[Path]) -> str:
    found = [runs.read_json(folder / "score.json")["metrics"]["f1"] for folder in folders]
    f1 = [f"{m['value']:.3f} [{m['low']:.3f}, {m['high']:.3f}]" for m in found]
    losses = [f"{_last_loss(folder / 'curve.csv'):.4f}" for folder in folders]
    said, other = (_answers(folder / "predictions.jsonl.gz") for folder in folders)
    alike = f"{sum(said[example] == other[example] for example in said)} of {len(said)}"
    return f"| {' | '.join([name, *f1, *losses, alike])} |"


def _last_loss(curve: Path) -> float:
    with curve.open(encoding="utf-8") as file:
        points = [p for p in csv.DictReader(file) if (p["split"], p["metric"]) == ("validation", "loss")]
    return float(points[-1]["value"])


def _answers(predictions: Path) -> dict[str, str]:
    with gzip.open(predictions, "rt", encoding="utf-8") as file:
        return {p["example_id"]: p["raw"] for p in map(json.loads, file)}


def _machine(folder: Path) -> str:
    record = runs.read_json(folder / "run.json")
    where = record["environment"]
    kind = f"{record.get('gpu') or 'a GPU'} beside " if record["device_kind"] == "cuda" else ""
    return f"{kind}{where['processor']}, torch {where['libraries']['torch']}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main([Path(home) for home in sys.argv[1:]])
