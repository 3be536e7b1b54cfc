"""Run by test_adding_a_task.py in a copy of the package that has one task more: trains on it and reports it.

Prints as JSON what the question, the records and the figures say.
"""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from speechllm_bench.planning import studies
from speechllm_bench.planning.stored_runs import predictions
from speechllm_bench.reports import progress, sizes
from speechllm_bench.reports import study as reports
from speechllm_bench.running import jobs
from speechllm_bench.storage import paths, runs

STUDY, PROFILE = "counting", "tiny"


def labels(figure: Figure | None) -> list[str]:
    return [ax.get_ylabel() for ax in figure.axes] if figure else []


def main() -> None:
    planned = studies.plan([STUDY], PROFILE)
    for run in planned.runs:
        jobs.execute(run.config, PROFILE, lambda phase, share: None)
    study, _ = studies.load(STUDY, PROFILE)
    rows = studies.records(STUDY, PROFILE)
    first = planned.runs[0]
    reports.write(STUDY, PROFILE)
    results = paths.results(PROFILE)
    found = {
        "package": str(Path(paths.__file__).parents[1]),
        "status": [row["status"] for row in rows],
        "predictions": [p.to_json() for p in predictions(first)],
        "score": runs.read_json(first.folder / "score.json"),
        "curve": (first.folder / "curve.csv").read_text(),
        "csv": (results / "tables" / f"{STUDY}.csv").read_text(),
        "markdown": (results / "tables" / f"{STUDY}.md").read_text(),
        "claims": (results / "tables" / f"{STUDY}_claims.md").read_text(),
        "curves": labels(progress.curves_figure(study, rows)),
        "parameters": labels(sizes.parameters_figure(study, reports.table(study, rows))),
        "figures": sorted(file.name for file in (results / "figures").iterdir()),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
