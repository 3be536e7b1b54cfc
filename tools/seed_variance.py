"""Writes the pooled variance of each metric between seeds, from the records of results/mini.

python tools/seed_variance.py            # writes src/speechllm_bench/evaluation/seed_variance.json
python tools/seed_variance.py --check    # fails if the file differs from the records
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
RECORDS = PROJECT / "results" / "mini" / "runs"
FILE = PROJECT / "src" / "speechllm_bench" / "evaluation" / "seed_variance.json"
LEAST_SYSTEMS = 5
"""Least number of systems with several seeds that a metric needs for a pooled variance."""

System = dict[int, dict]
"""Seed -> run of a system: digest, stages, items and metrics."""


def systems(records: Path = RECORDS) -> dict[str, System]:
    """Return the trained systems with two or more seeds, by their configuration without the seed."""
    found: dict[str, System] = {}
    for file in sorted(records.glob("*/run.json")):
        record = json.loads(file.read_text("utf-8"))
        if record["status"] != "ok" or not record["stages"]:
            continue
        score = json.loads((file.parent / "score.json").read_text("utf-8"))
        values = {name: metric["value"] for name, metric in score["metrics"].items()}
        run = {key: record[key] for key in ("digest", "stages", "config")}
        config = {key: value for key, value in record["config"].items() if key != "seed"}
        system = found.setdefault(json.dumps(config, sort_keys=True), {})
        system[record["seed"]] = run | {"items": score["items"], "metrics": values}
    return {key: runs for key, runs in found.items() if len(runs) > 1}


def pool(found: dict[str, System]) -> dict:
    """Return the content of the file.

    A pooled variance is the systems' mean, weighted by degrees of freedom.
    """
    tables: dict[str, dict] = {"own": {}, "other": {}}
    for audio, table in tables.items():
        heard = [runs for runs in found.values() if _first(runs)["config"]["evaluation"]["audio"] == audio]
        for metric in sorted({name for runs in heard for name in _first(runs)["metrics"]}):
            values = [[run["metrics"].get(metric) for run in runs.values()] for runs in heard]
            own = [np.array(some) for some in values if None not in some]
            if len(own) >= LEAST_SYSTEMS:
                table[metric] = {"variance": _pooled(own), "systems": len(own)}
    digests = sorted(run["digest"] for runs in found.values() for run in runs.values())
    rests_on = {
        "records": "results/mini",
        "runs": len(digests),
        "digests": hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16],
    }
    return {"rests_on": rests_on, "share_of_an_evaluation": _share(found, tables["own"]), **tables}


def _share(found: dict[str, System], own: dict) -> float:
    """Return the share of the variance of F1 that two evaluations of one training do not have in common.

    It is half the pooled variance of their difference, divided by the variance of one evaluation.
    """
    heard = [r for r in found.values() if _first(r)["config"]["evaluation"]["audio"] == "own"]
    differences = []
    for one, other in itertools.combinations(heard, 2):
        alike = all(_first(one)[key] == _first(other)[key] for key in ("stages", "items"))
        if alike and "f1" in _first(one)["metrics"] and one.keys() == other.keys():
            differences.append(np.array([one[s]["metrics"]["f1"] - other[s]["metrics"]["f1"] for s in one]))
    if not differences or "f1" not in own:
        return 1.0
    return float(f"{min(1.0, _pooled(differences) / 2 / own['f1']['variance']):.3g}")


def _pooled(values: list[np.ndarray]) -> float:
    squares = sum(((some - some.mean()) ** 2).sum() for some in values)
    return float(f"{squares / sum(len(some) - 1 for some in values):.4g}")


def _first(runs: System) -> dict:
    return runs[min(runs)]


def main() -> int:
    text = json.dumps(pool(systems()), indent=1) + "\n"
    if "--check" in sys.argv[1:]:
        if FILE.read_text("utf-8") == text:
            return 0
        print(f"{FILE.name} is not that of the records; run python tools/seed_variance.py", file=sys.stderr)
        return 1
    FILE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
