"""Commands that cite numbers: cite, check and why; `cli` has the others."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from speechllm_bench.errors import UserError


def cite(chosen: argparse.Namespace) -> None:
    """Numbers in the form asked for; BibTeX of the papers and the suite where none is named."""
    from speechllm_bench import numbers
    from speechllm_bench.cite import bib, forms

    found = [number for pattern in chosen.id for number in numbers.matching(pattern)]
    if chosen.form == "bib":
        print(bib.of_numbers(found) if found else bib.references())
    elif not found:
        raise UserError("name at least one id, as mini/lora/mlp_lora/A/f1, or a pattern, as 'mini/lora/*/f1'")
    else:
        print(forms.cited(found, getattr(forms, chosen.form)))


def check(chosen: argparse.Namespace) -> int:
    """What is wrong with the numbers of a paper; returns 1 where anything is."""
    from speechllm_bench.cite import check

    found = check.check(chosen.paper)
    print(check.told(found))
    return 1 if found.faults else 0


def why(chosen: argparse.Namespace) -> None:
    """What made a number stale."""
    from speechllm_bench import numbers
    from speechllm_bench.cite import why

    print(why.told(numbers.find(chosen.id)))


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "cite": cite,
    "check": check,
    "why": why,
}
