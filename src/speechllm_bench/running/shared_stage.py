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
    stored = record.get("decoded_tokens")  # None: nothing was decoded, or an older record does not say
    if stored not in (None, decoded):
        raise UserError(
            f"the curve of stage {folder} was decoded with at most {stored} tokens an answer, and the "
            f"profile now allows {decoded}; set decoding.max_new_tokens back, or delete this folder to train "
            "the stage anew"
        )
    return record
