"""Figures and claims of papers, as a study's YAML and the ledger state them. None is a result of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from speechllm_bench.settings.strict import Name, Prose, Strict, refuse_repeated
from speechllm_bench.tasks import METRICS

if TYPE_CHECKING:  # a type checker cannot compute the names from the registry of tasks
    ReportedMetric = str
else:
    ReportedMetric = Literal[(*METRICS, "relative gain", "SLUE score gain")]


class Reported(Strict):
    """A figure that a paper reports, with its source. It is never a result of ours."""

    variant: str  # the variant that stands for the paper's system
    metric: ReportedMetric
    value: float
    source: Prose  # arXiv number, and the table or section


class ClaimConfig(Strict):
    """A claim of a paper: one variant is better than another by the main metric of their task.

    With `beyond`, another (better, worse) pair, the claim is that the first pair differs by more than it.
    """

    claim: Prose
    source: Prose  # arXiv number, and the table or section; `ours` for a claim of no paper
    better: str  # the variant that is ahead by the claim
    worse: str  # the variant that is behind
    beyond: list[str] | None = Field(default=None, min_length=2, max_length=2)
    scale: str | None = None  # model scale of the claim, such as "8 B"; only profile `paper` can test it

    @property
    def variants(self) -> tuple[str, ...]:
        """Return the variants that it compares: better, worse and those of `beyond`."""
        return self.better, self.worse, *(self.beyond or ())

    def difference(self, labels: Mapping[str, str], lower_is_better: bool) -> str:
        """Return the difference that it is about, with the labels of its variants. Above 0 speaks for it.

        lower_is_better: of the metric. The better variant is then subtracted from the worse one.
        """
        named = [labels.get(name, name) for name in self.variants]
        pairs = [
            f"{second} − {first}" if lower_is_better else f"{first} − {second}"
            for first, second in zip(named[::2], named[1::2], strict=True)
        ]
        return pairs[0] if len(pairs) == 1 else f"({pairs[0]}) − ({pairs[1]})"


class Entry(Strict):
    """Fields that figures and claims have in common."""

    id: Name
    paper: str
    where: Prose | None = None  # table or section; None where our summary of the paper does not say
    condition: Prose | None = None


class ReportedFigure(Entry):
    """A number, or a range of numbers, that a paper reports in one table cell."""

    cell: Prose
    value: float
    to: float | None = None
    measured: list[str]  # keys of numbers.json with their column, closest to the paper's first


class ReportedClaim(Entry):
    """A statement of a paper, and what tests it.

    `tested` names rows of numbers.json with a verdict, without their test set: claims of studies as
    study/better-worse. `measured` names numbers, and the claim is that each lies in the range `within`.
    """

    claim: Prose
    tested: list[str] = Field(default_factory=list)
    within: list[float] | None = Field(default=None, min_length=2, max_length=2)
    measured: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _judged(self) -> ReportedClaim:
        if bool(self.measured) != (self.within is not None):
            raise ValueError(f"claim '{self.id}' needs both `within` and `measured`, or neither")
        return self


class Ledger(Strict):
    """The content of `experiments/papers/claims.yaml`."""

    papers: dict[str, Prose] = Field(min_length=1)  # paper -> its topic
    figures: list[ReportedFigure]
    claims: list[ReportedClaim]

    @model_validator(mode="after")
    def _named(self) -> Ledger:
        entries = [*self.figures, *self.claims]
        refuse_repeated([entry.id for entry in entries])
        if unknown := sorted({entry.paper for entry in entries} - self.papers.keys()):
            raise ValueError(
                f"an entry names paper {unknown[0]}, which is not among papers: {', '.join(self.papers)}"
            )
        return self
