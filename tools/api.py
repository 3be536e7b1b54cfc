"""Generates the reference of the Python API from signatures, docstrings and comments."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping

from schema import comments

from speechllm_bench import api
from speechllm_bench.cite import comparing
from speechllm_bench.cite.comparing import Comparing
from speechllm_bench.commands.asking import Answer, Model
from speechllm_bench.stats import Comparison

FUNCTIONS: Mapping[str, Callable] = {
    "bench.results": api.results,
    "bench.load": api.load,
    "Model.ask": Model.ask,
    "Model.hear": Model.hear,
}
COMPARING: Mapping[str, Callable] = {
    "Comparing": Comparing,
    **{
        f"Comparing.{name}": getattr(Comparing, name)
        for name in ("test_sets", "baseline", "metrics", "slices", "value", "difference", "turns", "curves")
    },
    "slice_label": comparing.slice_label,
}


def columns() -> str:
    return ", ".join(f"`{name}`" for name in api.COLUMNS) + "."


def functions() -> str:
    return "\n\n".join([*(_function(*one) for one in FUNCTIONS.items()), _fields(Answer)])


def comparisons() -> str:
    kinds = ", ".join(f'`"{kind}"`' for kind in comparing.KINDS)
    parts = [*(_function(*one) for one in COMPARING.items()), _fields(Comparison)]
    return "\n\n".join([*parts, f"`KINDS` are {kinds}."])


def _function(name: str, function: Callable) -> str:
    given = [_parameter(one) for one in inspect.signature(function).parameters.values() if one.name != "self"]
    said = inspect.getdoc(function) or ""
    return f"### `{name}`\n\n```python\n{name}({', '.join(given)})\n```\n\n{said}"


def _parameter(one: inspect.Parameter) -> str:
    return one.name if one.default is one.empty else f"{one.name}={one.default!r}".replace("'", '"')


def _fields(kind: type) -> str:
    told = {name: text for cls in reversed(kind.__mro__) for name, text in comments(cls).items()}
    lines = [f"| `{field.name}` | {told.get(field.name, '')} |" for field in dataclasses.fields(kind)]
    properties = [name for name, made in vars(kind).items() if isinstance(made, property)]
    lines += [
        f"| `{name}` | {' '.join((getattr(kind, name).__doc__ or '').split())} |" for name in properties
    ]
    said = inspect.getdoc(kind) or ""
    return "\n".join([f"### `{kind.__name__}`", "", said, "", "| field | meaning |", "|---|---|", *lines])
