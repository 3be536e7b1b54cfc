"""Numbers of slices, whose ids end in `@slice`, such as `mini/lora/mlp_lora/A/f1@slot=home_city`.

No table has them; they are computed from stored answers on request. A slice has the main metric of its task,
and its difference to the study's baseline.
"""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from speechllm_bench.errors import UserError
from speechllm_bench.storage import numbers
from speechllm_bench.storage.numbers import Cell, Number

if TYPE_CHECKING:
    from speechllm_bench.cite.comparing import Comparing
    from speechllm_bench.stats import Comparison

SIGN = "@"


def matching(pattern: str) -> list[Number]:
    """Return the numbers, of slices or tables, that match an id or pattern. UserError where there is none."""
    whole, sign, slice_ = pattern.partition(SIGN)
    if not sign:
        return numbers.matching(pattern)
    return [one for number in numbers.matching(whole) for one in _of(number, slice_)]


def find(id: str) -> Number:
    """Return the number of an id, of a slice or a table. UserError where there is none, or several."""
    return numbers.one_of(id, matching(id))


def _of(number: Number, pattern: str) -> list[Number]:
    """Return this number for each slice that matches the pattern."""
    row = number.row
    known = _comparing(row.study, number.profile)
    if row.table != row.study or row.name not in known.runs:
        raise UserError(f"{number.id} has no slices; only variants with scores have them")
    main, baseline = known.metrics(row.name)[0], known.baseline_of(row.name)
    differs = number.column == "difference" and baseline is not None and row.name != baseline
    if number.column != main and not differs:
        raise UserError(f"a slice has only {main} and difference, not {number.column}: {number.id}")
    slices = known.slices(row.name)
    found = [one for one in slices if fnmatch.fnmatchcase(one, pattern)]
    if not found:
        raise UserError(f"{number.id} has no slice '{pattern}'; its slices are: {', '.join(slices[1:])}")
    made = []
    for one in found:
        gap = known.difference(baseline, row.name, main, one) if differs and baseline else None
        value = gap or known.value(row.name, main, one)
        rests = replace(row, n=known.turns_in(row.name, one), speakers=value.n_speakers)
        column = f"{number.column}{SIGN}{one}"
        made.append(Number(number.profile, replace(rests, cells={column: _cell(value, differs)}), column))
    return made


def _cell(value: Comparison, differs: bool) -> Cell:
    from speechllm_bench.stats import with_interval

    ends = (value.value, value.low, value.high)
    return Cell(with_interval(*ends, "+" if differs else ""), *map(numbers.rounded, ends))


@cache
def _comparing(study: str, profile: str) -> Comparing:
    from speechllm_bench.cite.comparing import Comparing  # slow import, which only slices need

    return Comparing(study, profile)
