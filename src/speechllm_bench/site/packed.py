"""Data as scripts: a page opened from disk may load scripts but may not fetch files.

A script passes one value to the page, as deflated JSON in base 85. The page loads it when it first needs it.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from speechllm_bench.storage import runs

LEAST = 992  # the double's exponent that is 0 in `short`
DIGITS = 12  # significant digits of counts; intervals from rounded and unrounded counts agree to 1e-9


def write(folder: Path, name: str, value: object, stamp: str = "") -> Path:
    """Write data/<name>.js and return it. `stamp` identifies the inputs, so an unchanged file can be kept."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    packed = base64.b85encode(zlib.compress(text.encode(), 9)).decode()
    script = f"// {stamp}\nBench.received({json.dumps(name)},{json.dumps(packed)});\n"
    runs.write_text(file(folder, name), script, lasting=False)
    return file(folder, name)


def file(folder: Path, name: str) -> Path:
    """Return the file of the value with this name."""
    return folder / "data" / f"{name}.js"


def stamped(folder: Path, name: str, stamp: str) -> bool:
    """Return whether the value of this name was written with the same stamp."""
    try:
        with file(folder, name).open(encoding="utf-8") as lines:
            return lines.readline() == f"// {stamp}\n"
    except OSError:
        return False


def array(values: np.ndarray) -> str:
    """Return the bytes of an array, little-endian, in base64. The page knows shape and type."""
    values = np.ascontiguousarray(values)
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def short(values: np.ndarray) -> str:
    """Return an array of doubles in base64, with 5 bytes for each value and a relative error below 6e-11.

    They are a sign, 6 bits of the exponent and 33 of the mantissa, which is rounded. So sizes end
    at 4.7e-10 and at 8.6e9. The bytes of one place stand together, since they compress well.
    """
    whole = np.ascontiguousarray(values, "<f8").view("<u8")
    size = ((whole & np.uint64(2**63 - 1)) + np.uint64(1 << 18) >> np.uint64(19)).astype(np.int64)
    size = np.clip(size - (LEAST << 33), 0, 2**39 - 1).astype("<u8")
    bits = size | (whole >> np.uint64(63) << np.uint64(39))
    return base64.b64encode(bits.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :5].T.tobytes()).decode()


def counts(values: np.ndarray) -> Any:
    """Return counts of any shape as nested lists, with whole numbers as int."""
    if np.ndim(values):
        return [counts(part) for part in values]
    value = float(values)
    return int(value) if value.is_integer() else float(f"{value:.{DIGITS}g}")
