"""Selects the version of partial match in a profile's tables, figures, claims and learning curves.

Stored scores and curves contain both: version 1 as `f1`, version 2 as `f1_v2`. Reports use `precision`,
`recall` and `f1`. If a profile shows version 2, its metrics get these names when records are read, and
version 1 becomes `f1_v1`. `versions` in the score says which version has the plain names, so a table states
it in its caption and refuses to mix two.
"""

from __future__ import annotations

from collections.abc import Mapping

from speechllm_bench.errors import UserError
from speechllm_bench.metrics import Counts, partial_match
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.tasks.slots import given

VERSION_1_PROFILES = ("smoke", "mini")
"""Profiles whose reports show version 1; every other profile shows version 2."""


def shown_version(profile: str) -> int:
    """Return the version of partial match that a profile's reports show."""
    return partial_match.VERSION if base_profile(profile) in VERSION_1_PROFILES else partial_match.VERSION_2


def shown(stored: dict, profile: str) -> dict:
    """Return a stored score as the profile's reports read it: as it is, or with version 2 as plain names.

    Raises UserError if the profile shows version 2 and the score was stored before version 2 existed.
    """
    if shown_version(profile) == partial_match.VERSION or "f1" not in stored.get("metrics", ()):
        return stored
    if "f1_v2" not in stored["metrics"]:
        raise UserError(
            f"a score of profile '{profile}' has no partial match of version 2; "
            f"add it by: speechllm-bench rescore --profile {profile}"
        )
    versions = dict(stored["versions"])
    versions["partial_match"] = versions.pop("partial_match_v2")
    metrics = dict(stored["metrics"])
    metrics["f1_v1"] = metrics["f1"]
    for name in ("precision", "recall", "f1"):
        metrics[name] = metrics.pop(f"{name}_v2")
    counts = {key: _renamed_counts(stored[key]) for key in ("totals", "sums")}
    return stored | {"versions": versions, "metrics": metrics} | counts


def stored_name(metric: str, score: Mapping) -> str:
    """Return the name under which score.json has a metric of a score from `shown`."""
    plain = metric in ("precision", "recall", "f1")
    return f"{metric}_v2" if plain and shown_in(score) != partial_match.VERSION else metric


def shown_in(score: Mapping) -> int:
    """Return the version of partial match that has the plain names in a score from `shown`."""
    return score.get("versions", {}).get("partial_match", partial_match.VERSION)


def counts(gold: dict, said: dict | None, version: int) -> Counts:
    """Return the summed credit, predicted pairs and gold pairs of one answer by the given version."""
    if version == partial_match.VERSION:
        return partial_match.counts(gold, said)
    return partial_match.counts_v2(gold, given(said))


def _renamed_counts(stored: dict) -> dict:
    rest = {name: value for name, value in stored.items() if name != "partial_match_v2"}
    return rest | {"partial_match": stored["partial_match_v2"], "partial_match_v1": stored["partial_match"]}
