"""Safe execution of notebooks with papermill.

Papermill only warns about a misspelt parameter and uses the default. It marks every cell completed when the
kernel died, rewrites its output in place, and has no time limit for the whole notebook. So parameters are
checked first, and the notebook runs in its own process and in a temporary folder. Only a notebook that ran to
its end is stored in `results/<profile>/notebooks`, with its status in a JSON file of the same name.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from speechllm_bench.errors import UserError
from speechllm_bench.planning import identity, studies
from speechllm_bench.running import executors, lifeline
from speechllm_bench.settings import catalogue
from speechllm_bench.settings.config import LARGEST_SEED
from speechllm_bench.settings.experiments import VARIANT_SETS
from speechllm_bench.storage import leftovers, notebook_copy, paths, runs, sealed
from speechllm_bench.storage.status import Status

GRACE_SECONDS = 10  # between asking the processes of a notebook to stop and killing them
ENDINGS = {
    Status.KILLED: "its process was killed",
    Status.TIMEOUT: "it took longer than its time limit and was stopped",
    Status.INTERRUPTED: "it was stopped",
}


def execute(name: str, parameters: dict, limit_minutes: int | None = None) -> Path:
    """Execute notebooks/<name>.ipynb and return the executed copy.

    parameters: plain JSON values for names of the notebook's `parameters` cell.
    limit_minutes: default is the profile's time limit times one more than the notebook's number of runs.
    Raises UserError for a wrong parameter before anything starts, and where the notebook does not run to its
    end. The incomplete copy is then in `results/<profile>/failed`.
    """
    values = checked(name, parameters)
    limit = 60 * (limit_minutes or _limit_minutes(name, values))
    target = paths.results(values["profile"]) / "notebooks" / f"{name}.ipynb"

    def waits() -> None:
        print(f"Notebook {name} waits: {runs.holder(target)} executes it.", flush=True)

    with runs.lock(target, waits):
        return _execute(name, parameters, values, limit, target)


def _execute(name: str, parameters: dict, values: dict, limit: float, target: Path) -> Path:
    profile = values["profile"]
    code = _code(name)  # hashed before the start, because the code may change during the execution
    if target.is_file() and _up_to_date(target.with_suffix(".json"), _made_of(code, name, values)):
        print(f"Notebook {name} is up to date, nothing to do.")
        return target
    log = paths.results(profile) / "logs" / f"notebook_{name}.log"
    # Paths of sockets have a length limit, so theirs is a folder of its own.
    with leftovers.scratch(paths.cache(), "notebook") as work, tempfile.TemporaryDirectory() as sockets:
        record = target.with_suffix(".json")
        spec = {"source": str(source(name)), "parameters": parameters, "record": str(record)}
        spec["sockets"] = sockets
        runs.write_json(work / "spec.json", spec)
        started = time.monotonic()  # the wall clock may be set back
        print(f"Executing notebook {name}.", flush=True)
        status = {"notebook": name, "parameters": values, "status": Status.RUNNING, "pid": os.getpid()}
        sealed.write(record, status, {})
        outcome = _outcome(work, log, limit)
        failed = paths.results(profile) / "failed" / target.name
        ended = outcome["status"] == Status.OK
        if not _store(work / "executed.ipynb", target if ended else failed) and ended:
            outcome = {"status": Status.FAILED, "message": "its executed copy cannot be read"}
        status |= outcome | {"pid": None, "seconds": round(time.monotonic() - started, 1)}
        if outcome["status"] == Status.OK:
            status["made_of"] = _made_of(code, name, values)
        sealed.write(record, status, sealed.present(target))  # last, when the files that it describes exist
    if outcome["status"] == Status.INTERRUPTED:
        raise KeyboardInterrupt
    if outcome["status"] != Status.OK:
        seen = failed if failed.is_file() else log
        raise UserError(f"notebook '{name}': {outcome['message']}; see {seen.relative_to(paths.home())}")
    failed.unlink(missing_ok=True)
    return target


def source(name: str) -> Path:
    """Return the path of a notebook. Raises UserError for an unknown name and lists the known ones."""
    found = catalogue.notebook_files()
    if name not in found:
        raise UserError(f"there is no notebook '{name}'; the notebooks are: {', '.join(found)}")
    return found[name]


def checked(name: str, parameters: dict) -> dict:
    """Return the notebook's defaults updated with `parameters`.

    Raises UserError for a wrong name, type or value.
    """
    declared = _declared(source(name))
    for key, value in parameters.items():
        if key not in declared:
            raise UserError(f"notebook '{name}' has no parameter '{key}'; it has: {', '.join(declared)}")
        kind, _ = declared[key]
        if type(value).__name__ != kind:
            raise UserError(f"parameter '{key}' of notebook '{name}' is a {kind}, got {value!r}")
    values = {key: default for key, (_, default) in declared.items()} | parameters
    _check_values(name, values)
    return values


def _declared(file: Path) -> dict[str, tuple[str, object]]:
    """Return type and default by name from the cell tagged `parameters`, of lines `name: type = literal`.

    Raises UserError where the notebook has no such cell.
    """
    stored: Any = runs.read_json(file, "mend it, or get it again from where it came from")
    try:
        (cell,) = [c for c in stored["cells"] if "parameters" in c["metadata"].get("tags", [])]
        lines: list[Any] = ast.parse("".join(cell["source"])).body
        return {
            line.target.id: (ast.unparse(line.annotation), ast.literal_eval(line.value)) for line in lines
        }
    except (SyntaxError, ValueError, LookupError, TypeError, AttributeError):
        said = "needs one cell with the tag `parameters`, of lines such as profile: str = 'smoke'"
        raise UserError(f"notebook '{file.stem}' {said}") from None


def _check_values(name: str, values: dict) -> None:
    studies.profile_named(values["profile"])
    if study := _study(name, values):
        known, _ = studies.load(study, values["profile"])
        for variant in set(_variants(values)) - set(VARIANT_SETS):
            known.variant(variant)
    for seed in _seeds(values):
        if type(seed) is not int or not 0 <= seed <= LARGEST_SEED:
            raise UserError(f"seeds are whole numbers from 0 to {LARGEST_SEED}, got {seed!r}")
    for key, value in values.items():
        if isinstance(value, list) and len(value) > len(set(map(repr, value))):
            raise UserError(f"parameter '{key}' of notebook '{name}' names something twice: {value}")


def _study(name: str, values: dict) -> str | None:
    """Return the study of a notebook: that of its parameter `study`, or the one it is named after."""
    return values.get("study", name if name in studies.known_studies() else None)


def _variants(values: dict) -> list:
    return [values["variant"]] if "variant" in values else values.get("variants", [])


def _seeds(values: dict) -> list:
    return [values["seed"]] if "seed" in values else values.get("seeds", [])


def _code(name: str) -> str:
    """Digest of the notebook's source, the source of this package, studies and profiles."""
    code = sorted(f for f in (paths.PROJECT / "src").rglob("*") if f.suffix in (".py", ".yaml"))
    code += sorted(paths.EXPERIMENTS.rglob("*.yaml"))  # no run's digest includes claims and titles
    code += sorted({*catalogue.study_files().values(), *catalogue.profile_files().values()} - set(code))
    return runs.digest([runs.file_sha256(p) for p in (source(name), *code)])


def _made_of(code: str, name: str, values: dict) -> str:
    """Digest of all that an executed notebook shows: code, parameter values, results of its study, and data.

    It includes the records and scores of runs, because a run that is made again keeps its digest. The data
    are the corpus, and CSV files that a person filled in for this notebook, in a results folder of its name.
    """
    profile, study = values["profile"], _study(name, values)
    rows = studies.records(study, profile, _seeds(values)) if study else []
    rows = [row for row in rows if row["variant"] == values.get("variant", row["variant"])]
    found = [[row[key] for key in ("variant", "status", "record", "score")] for row in rows]
    filled_in = [runs.file_sha256(p) for p in sorted((paths.results(profile) / name).glob("*.csv"))]
    corpus = identity.corpus_digest(studies.profile_named(profile).corpus)
    return runs.digest(code, filled_in, values, found, corpus)


def _up_to_date(status_file: Path, made_of: str) -> bool:
    with contextlib.suppress(UserError):  # the status or the notebook is missing or damaged
        status = sealed.read(status_file)
        return status["status"] == Status.OK and status["made_of"] == made_of
    return False


def _limit_minutes(name: str, values: dict) -> int:
    n_runs = 0
    if study := _study(name, values):
        n_runs = len(studies.plan([study], values["profile"], _variants(values), _seeds(values)).runs)
    return studies.profile_named(values["profile"]).time_limit_minutes * (1 + n_runs)


def _outcome(work: Path, log: Path, limit: float) -> dict:
    """Execute the notebook in its own process and return the status, with a message unless it is ok.

    limit: seconds.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as output:
        process = lifeline.start(
            [sys.executable, "-m", "speechllm_bench.notebook", str(work)],
            # With more threads parallel notebooks take minutes, not seconds. Runs set their own number.
            os.environ | dict.fromkeys(executors.THREAD_VARIABLES, "1"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait(limit)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as stopped:
            lifeline.end_tree(process.pid, GRACE_SECONDS)
            process.wait()
            ending = Status.INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else Status.TIMEOUT
            return {"status": ending, "message": ENDINGS[ending]}
    try:
        return runs.read_json(work / "outcome.json")
    except UserError:
        return {"status": Status.KILLED, "message": ENDINGS[Status.KILLED]}


def _store(executed: Path, target: Path) -> bool:
    """Store the cleaned notebook at `target`.

    Returns False if it was never written, or was cut short by a kill or a full disk.
    """
    try:
        notebook = notebook_copy.clean(json.loads(executed.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return False
    runs.write_text(target, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return True


def record_killed(record: Path) -> None:
    """Record that a notebook was killed, if its status still says `running` after its execution has ended."""
    status = runs.read_json(record)
    if status["status"] == Status.RUNNING:
        ended = {"status": Status.KILLED, "message": "the command that executed it was killed", "pid": None}
        sealed.write(record, status | ended, {})


def _run_papermill(work: Path) -> dict:
    """Execute the notebook in this process, which is the notebook's own, and return the outcome."""
    import papermill
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    spec = runs.read_json(work / "spec.json")

    class ThisPython(AsyncKernelManager):
        """A kernel of this interpreter, not of the kernel spec `python3`. It uses local sockets, not TCP."""

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

        def _transport_default(self) -> str:
            return "ipc"

        def _ip_default(self) -> str:
            return f"{spec['sockets']}/kernel"

        def _connection_file_default(self) -> str:
            return f"{spec['sockets']}/kernel.json"

    try:
        papermill.execute_notebook(
            spec["source"],
            str(work / "executed.ipynb"),
            spec["parameters"],
            kernel_name="python3",
            progress_bar=False,
            start_timeout=300,
            coalesce_streams=True,
            kernel_manager_class=ThisPython,
        )
    except PapermillExecutionError as error:
        message = f"{error.ename}: {error.evalue}" if error.ename != "UserError" else error.evalue
        return {"status": Status.FAILED, "message": message}
    except OSError as error:  # raised by papermill itself, mostly for a full disk
        return {"status": Status.FAILED, "message": str(error)}
    except DeadKernelError:
        return {"status": Status.KILLED, "message": "its kernel died, often a lack of memory"}
    return {"status": Status.OK}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    lifeline.watch(lambda: record_killed(Path(runs.read_json(folder / "spec.json")["record"])))
    runs.write_json(folder / "outcome.json", _run_papermill(folder))
