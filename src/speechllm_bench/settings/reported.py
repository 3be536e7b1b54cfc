"""Figures and claims of a paper, as a study's YAML states them with a source. None is a result of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from speechllm_bench.settings.strict import Prose, Strict
from speechllm_bench.tasks import METRICS

if TYPE_CHECKING:  # a type checker cannot compute the names from the registry of tasks
    ReportedMetric = str
else:
    ReportedMetric = Literal[(*METRICS, "relative gain", "SLUE score gain")]


class Reported(Strict):
    """A figure that a paper reports, with its source. It is never a result of ours."""

    variant: str
    metric: ReportedMetric
    value: float
    source: Prose


class ClaimConfig(Strict):
    """A claim of a paper: one variant is better than another by the main metric of their task.

    With `beyond`, another (better, worse) pair, the claim is that the first pair differs by more than it.
    """

    claim: Prose
    source: Prose
    better: str
    worse: str
    beyond: list[str] | None = Field(default=None, min_length=2, max_length=2)
    scale: str | None = None  # model scale of the claim, such as "8 B"; only profile `paper` can test it

    @property
    def compared(self) -> str:
        first = f"{self.better} − {self.worse}"
        return f"({first}) − ({self.beyond[0]} − {self.beyond[1]})" if self.beyond else first
