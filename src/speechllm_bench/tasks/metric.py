"""Defines a metric of a task: its name, the counts that it is computed from, and its place in tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from speechllm_bench.metrics import quotient
from speechllm_bench.stats import Statistic

SHARE, PER_CENT, RATIO, TOKENS = "share", "per cent", "ratio", "tokens"
"""Units. Values of the first two are in 0 to 1; tables show `per cent` times 100. Others are unbounded."""

Column = Literal["with interval", "plain", "later"]
"""Place in a study's table: before the difference to the baseline, with interval or without, or after it.

Files of numbers have the intervals of all three. By a metric that is `plain` or `later` and has the unit and
direction of the main one, the verdict on a claim may be "reversed".
"""


@dataclass(frozen=True)
class Metric:
    """A number computed from counts that are summed over answers.

    A metric with a column has intervals. Where there is one seed, these need the variance between seeds: its
    own in `evaluation/seed_variance.json`, or that of `varies_as`, a metric of the same scale.
    """

    name: str  # in scores, curves and CSV files
    heading: str  # of its column in tables
    counts: str  # name of its counts in scores
    rule: Statistic  # computes it from the sums of these counts
    label: str = ""  # of the axis in figures; "": the heading
    unit: str = SHARE  # one of the units above, or the counted things, such as "words"
    lower_is_better: bool = False
    column: Column | None = None  # None: in no study's table
    always: bool = True  # False: only tables with a score that holds it have its column
    varies_as: str = ""  # metric whose pooled variance between seeds is used if its own is unknown; "": 0
    how: str = ""  # its sentence in the caption of tables that have its column

    @property
    def shown(self) -> str:
        """Label of the axis in figures."""
        return self.label or self.heading

    @property
    def most(self) -> float:
        """Largest possible value."""
        return 1 if self.unit in (SHARE, PER_CENT) else float("inf")


UNPARSABLE = "unparsable"
PARSE_FAILURES = Metric(
    "parse_failures", "Parse failures", UNPARSABLE, quotient,
    unit=PER_CENT, lower_is_better=True, column="later",
)  # fmt: skip
"""Share of the answers that cannot be parsed, for every task whose parser can fail."""
