"""Reads a model file of CTranslate2 4 (`model_spec.py`, binary version 6).

Layout: version, name of the specification, its revision, number of variables; for each variable its name,
rank, sizes, type, number of bytes and values; then the aliases, which are pairs of names.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from speechllm_bench.errors import UserError
from speechllm_bench.fetch.binary import Binary

VERSION = 6
DTYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # 5 is bfloat16, which numpy lacks


def read_variables(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Return the name of the specification, and the variables by name. An alias maps to its variable.

    Raises UserError for another version, an unknown type or a damaged file.
    """
    with open(path, "rb") as file:
        binary = Binary(file, path)
        version = binary.number("I")
        if version != VERSION:
            raise UserError(f"{path.name} has CTranslate2's binary version {version}; {VERSION} is wanted")
        specification = _name(binary)
        binary.number("I")  # the revision is not needed: the names of the variables show whether it fits
        variables = dict(_variable(binary) for _ in range(binary.number("I")))
        for _ in range(binary.number("I")):
            alias, target = _name(binary), _name(binary)
            if target not in variables:
                raise binary.damaged(f"{alias} stands for {target}, which is not in it")
            variables[alias] = variables[target]
    return specification, variables


def _name(binary: Binary) -> str:
    return binary.text(binary.number("H")).removesuffix("\0")


def _variable(binary: Binary) -> tuple[str, np.ndarray]:
    name = _name(binary)
    shape = [binary.number("I") for _ in range(binary.number("B"))]
    code, n_bytes = binary.number("B"), binary.number("I")
    if code not in DTYPES:
        raise binary.damaged(f"{name} has the unknown type {code}")
    dtype = np.dtype(DTYPES[code])
    if n_bytes != math.prod(shape) * dtype.itemsize:
        raise binary.damaged(f"{name} has {n_bytes} bytes, not those of its shape {shape}")
    return name, np.frombuffer(binary.bytes(n_bytes), dtype).reshape(shape)
