"""Check for executed notebooks that look complete and are not.

Papermill marks cells as completed even if their kernel has died. A cell that ran has an execution
count. A cell that failed has an output of type `error`. A notebook of this suite has a status file
beside it, which is written last.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from speechllm_bench.audit.run_files import Found
from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs, sealed
from speechllm_bench.storage.status import Status

PART = "executed notebooks"
REMEDY = "execute it again with `speechllm-bench notebook`"


def check_notebooks(results: Path) -> Iterator[Found]:
    """Check every notebook in a folder of results, except those in `failed`, which are known to be faulty."""
    for file in sorted(results.rglob("*.ipynb")):
        if {"failed", ".ipynb_checkpoints"} & set(file.relative_to(results).parts):
            continue
        status = _status(file) if file.parent.name == "notebooks" else None
        wrong = status or fault(file)
        yield Found(PART, f"{file}: {wrong}; {REMEDY}" if wrong else None)


def fault(file: Path) -> str | None:
    """Return a phrase on why an executed notebook is incomplete. None where it is complete."""
    try:
        notebook = runs.read_json(file)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        told = notebook.get("metadata", {}).get("papermill")
        sources = ["".join(cell["source"]).strip() for cell in cells]
        errors = [[o for o in cell.get("outputs", ()) if o["output_type"] == "error"] for cell in cells]
        counts = [cell.get("execution_count") for cell in cells]
        states = [cell.get("metadata", {}).get("papermill", {}).get("status") for cell in cells]
        unfinished = told is not None and (told.get("exception") or not told.get("end_time"))
    except (UserError, LookupError, TypeError, AttributeError):
        return "it is damaged"
    for number, failed in enumerate(errors, start=1):
        if failed:
            return f"code cell {number} holds an error ({failed[0].get('ename')})"
    for number, (source, count, state) in enumerate(zip(sources, counts, states, strict=True), start=1):
        if source and count is None:
            marked = f", though it is marked {state}" if state == "completed" else ""
            return f"code cell {number} never ran{marked}: its kernel died or was stopped"
    return "papermill stopped with an error or did not finish" if unfinished else None


def _status(file: Path) -> str | None:
    """Return the fault that the status file of a notebook reports. None where it reports none."""
    beside = file.with_suffix(".json")
    if not beside.is_file():
        return "no status is beside it"
    try:
        named = sealed.read(beside)["status"]
    except (UserError, LookupError, TypeError, AttributeError):
        return "the notebook or its status is damaged"
    if named == Status.RUNNING and not runs.locked(file):  # its process may be on another host
        return "its status is running and its process is gone"
    return None if named in (Status.OK, Status.RUNNING) else f"its status is {named}"
