"""Figures and claims of a paper, as a study states them: data with its source, never results of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from speechllm_bench.settings.strict import Prose, Strict
from speechllm_bench.tasks import METRICS

if TYPE_CHECKING:  # the metrics stand in the registry of tasks, which a type checker does not run
    ReportedMetric = str
else:
    ReportedMetric = Literal[(*METRICS, "relative gain", "SLUE score gain")]


class Reported(Strict):
    """A figure that a paper reports; data with its source, never a result of ours."""

    variant: str
    metric: ReportedMetric
    value: float
    source: Prose


class ClaimConfig(Strict):
    """What a paper says, as an ordering of two variants by the main metric of their task.

    With `beyond`, another (better, worse) pair: that the first pair lies further apart than this one.
    """

    claim: Prose
    source: Prose
    better: str
    worse: str
    beyond: list[str] | None = Field(default=None, min_length=2, max_length=2)
    scale: str | None = None  # that the claim is about, as "8 B": it can be tested in profile `paper` alone

    @property
    def compared(self) -> str:
        first = f"{self.better} − {self.worse}"
        return f"({first}) − ({self.beyond[0]} − {self.beyond[1]})" if self.beyond else first
