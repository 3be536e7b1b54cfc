"""Reading of a trained stage that another run shares, with its curve."""

from __future__ import annotations

from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs, sealed


def read(folder: Path, decoded: int | None) -> dict:
    """Return the checked record of a stage.

    decoded: the most tokens decoded per answer on the curve that the run would train. The limit is in no
    digest, as it does not affect the weights. Raises UserError where the stored curve has another limit.
    """
    record = sealed.read(folder / "stage.json", runs.DELETE_FOLDER)
    known = _limits(folder, record)
    if known and decoded not in known:
        raise UserError(
            f"the curve of stage {folder} was decoded with at most {min(known)} tokens an answer, and the "
            f"profile now allows {decoded}; set decoding.max_new_tokens back, or delete this folder to train "
            "the stage anew"
        )
    return record


def _limits(folder: Path, record: dict) -> set[int]:
    """Return the limit of a stored curve, or the possible ones; empty if it has none or none is known.

    Older records lack it. Their limit was that of the runs that share the stage, unless the stage has one.
    """
    if "decoded_tokens" in record:
        return {record["decoded_tokens"]} - {None}
    stage = record["stage"]
    own = any(stage.get(name) for name in ("trace_tokens", "decoded_tokens", "objective"))
    if own or not stage.get("decoded_turns"):  # such as a stage before the one that learns the decoded task
        return set()
    stored = (runs.read_json(file) for file in sorted(folder.parents[1].glob("runs/[!.]*/run.json")))
    sharing = [run["config"]["evaluation"] for run in stored if record["digest"] in run.get("stages", ())]
    return {evaluation["max_new_tokens"] for evaluation in sharing}
