"""Refuses tables that mix runs of different versions, device kinds or precisions (protocol, rule 11)."""

from __future__ import annotations

from collections.abc import Sequence

from speechllm_bench.errors import UserError
from speechllm_bench.planning.studies import Result

REMEDIES = {
    "version of task ": "raise NUMERICS_VERSION in storage/runs.py, and run the study again",
    "version of ": "renew the older scores by `speechllm-bench rescore`",
    "device kind": "delete the folders of the runs of one kind, and run the study again",
    "precision": "give the study's variants one precision",
}
"""What helps against a mixture, by how its name begins.

Digests hold neither a task's version nor the device, so a stored run counts as done under another one.
"""


def refuse_mixtures(rows: Sequence[Result]) -> None:
    """Raise UserError where rows differ in version of metric or task, device kind or precision (rule 11)."""
    found: dict[str, set] = {}
    for row in rows:
        for key in ("device_kind", "precision") if row["record"] else ():
            found.setdefault(key.replace("_", " "), set()).add(row["record"][key])
        for metric, version in row["score"]["versions"].items() if row["score"] else ():
            found.setdefault(f"version of {metric}", set()).add(version)
    for what, values in found.items():
        if len(values) > 1:
            remedy = next(told for part, told in REMEDIES.items() if what.startswith(part))
            mixed = ", ".join(sorted(map(str, values)))
            raise UserError(f"one table cannot mix runs of different {what} ({mixed}); {remedy}")
