"""Reads a model file of CTranslate2 4 (`model_spec.py`, binary version 6).

Layout: version, name of the specification, its revision, number of variables; for each variable its name,
rank, sizes, type, number of bytes and values; then the aliases, which are pairs of names.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from speechllm_bench.fetch.binary import number

DTYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # 5 is bfloat16, which numpy lacks


def read_variables(path: Path) -> dict[str, np.ndarray]:
    """Return the variables by name. An alias maps to its variable."""
    with open(path, "rb") as file:
        _, _, _ = number(file, "I"), _name(file), number(file, "I")  # version, specification, revision
        variables = dict(_variable(file) for _ in range(number(file, "I")))
        for _ in range(number(file, "I")):
            alias, target = _name(file), _name(file)
            variables[alias] = variables[target]
    return variables


def _name(file: BinaryIO) -> str:
    return file.read(number(file, "H")).decode().removesuffix("\0")


def _variable(file: BinaryIO) -> tuple[str, np.ndarray]:
    name = _name(file)
    shape = [number(file, "I") for _ in range(number(file, "B"))]
    dtype, n_bytes = DTYPES[number(file, "B")], number(file, "I")
    return name, np.frombuffer(file.read(n_bytes), dtype).reshape(shape)
