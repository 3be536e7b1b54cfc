"""Overrides: single settings of a profile, named by dotted path, as `lora.rank: 16`.

A path leads through the resolved profile, `experiments/profiles/*.yaml`: `training.lr`, `decoding.beams`,
`budgets.slots`, `adapters.mlp.width`. A study's variants name overrides in their YAML.
"""

from __future__ import annotations

from collections.abc import Mapping

from speechllm_bench.errors import UserError
from speechllm_bench.strict import overlay

Settings = Mapping[str, object]


def replaced(content: dict, settings: Settings, where: str) -> dict:
    """`content`, plain data, with the settings in place; `content` itself stays as it was.

    A mapping is laid over the one that stands there. UserError for a path that leads nowhere; whether the
    last key and its value are allowed is for the model to say that `content` is of.
    """
    for path, value in settings.items():
        *parents, last = path.split(".")
        _refuse_missing(content, parents, where)
        change: object = {last: value}
        for parent in reversed(parents):
            change = {parent: change}
        content = overlay(content, change)
    return content


def _refuse_missing(content: dict, parents: list[str], where: str) -> None:
    place: object = content
    for depth, parent in enumerate(parents):
        path = ".".join(parents[: depth + 1])
        if parent not in place:
            raise UserError(f"{where}: unknown key '{path}'; there are: {', '.join(place)}")
        place = {} if place[parent] is None else place[parent]
        if not isinstance(place, dict):
            raise UserError(f"{where}: key '{path}' is a value, {place!r}, and has no settings of its own")
