"""A metric as a task describes it: what it is called, what it is made of, and where it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from speechllm_bench.metrics import quotient
from speechllm_bench.stats import Statistic

SHARE, PER_CENT, RATIO, TOKENS = "share", "per cent", "ratio", "tokens"
"""Units. The first two lie in 0 to 1, and tables show `per cent` times 100; any other unit has no bound."""

Column = Literal["with interval", "plain", "later"]
"""Place in a study's table: before the difference to the baseline, with interval or without, or behind it."""


@dataclass(frozen=True)
class Metric:
    """A number that is made of counts, summed over answers."""

    name: str  # in scores, curves and CSV files
    heading: str  # of its column in tables
    counts: str  # the name in scores of what it is made of
    rule: Statistic  # how, from sums of these counts
    label: str = ""  # of the axis in figures; "": the heading
    unit: str = SHARE  # of the above, or what is counted, as "words"
    lower_is_better: bool = False
    column: Column | None = None  # None: in no study's table
    always: bool = True  # False: tables have its column where any of their scores holds it
    varies_as: str = ""  # the metric whose pooled variance between seeds stands for its own; "": none does
    how: str = ""  # a sentence of its own in the caption of tables that have its column

    @property
    def shown(self) -> str:
        """The label of an axis."""
        return self.label or self.heading

    @property
    def most(self) -> float:
        """The largest value there can be."""
        return 1 if self.unit in (SHARE, PER_CENT) else float("inf")


UNPARSABLE = "unparsable"
PARSE_FAILURES = Metric(
    "parse_failures", "Parse failures", UNPARSABLE, quotient,
    unit=PER_CENT, lower_is_better=True, column="later",
)  # fmt: skip
"""Of the answers; every task whose parser can fail counts them alike."""
