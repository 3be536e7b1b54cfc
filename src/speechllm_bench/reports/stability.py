"""How smoothly runs trained: norms and spikes of their gradients, which diverged (2510.15851, Appendix D)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.experiments import Study
from speechllm_bench.reports import figures, looks
from speechllm_bench.status import Status
from speechllm_bench.studies import Result


def gradients(rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """One row a variant: seeds run and diverged, the largest gradient norm before clipping, spikes counted.

    rows: of `studies.records`; curve: of `reports.study.curves`. A spike is a step whose gradient norm is
    above `training.loop.SPIKE` times the median of its part of the curve. Norms are the largest over
    seeds, spikes and steps the mean a seed; NaN where no seed is run, or where another variant has the curve
    of a training that both share.
    """
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        found = [row for row in rows if row["variant"] == variant and row["record"]]
        drawn = curve[(curve["variant"] == variant) & (curve["split"] == "train")]
        spikes = drawn[drawn["metric"] == "gradient_spikes"]["value"].sum()
        steps = drawn.groupby(["seed", "stage"])["step"].max().groupby("seed").sum().mean()
        lines.append(
            {
                "variant": variant,
                "seeds run": len(found),
                "diverged": sum(row["status"] == Status.DIVERGED for row in found),
                "largest gradient norm": drawn[drawn["metric"] == "gradient_norm_max"]["value"].max(),
                "spikes a seed": spikes / drawn["seed"].nunique() if len(drawn) else float("nan"),
                "steps a seed": steps,
            }
        )
    return pd.DataFrame(lines)


def gradients_figure(study: Study, curve: pd.DataFrame) -> Figure | None:
    """The largest gradient norm, log scale, and the training loss over examples; None without a curve."""
    if not (curve["metric"] == "gradient_norm_max").any():
        return None
    figure, axes = figures.panels(2, "page")
    own = looks.of(study)
    figures.learning_curves(curve, axes[0], "gradient_norm_max", "train", looks=own)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("largest gradient norm")
    figures.learning_curves(curve, axes[1], "loss", "train", looks=own)
    figures.legend(figure)
    return figure
