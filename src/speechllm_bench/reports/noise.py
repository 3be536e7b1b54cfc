"""What wrong labels cost: NER F1 of models by the noise of the labels that they learned from."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.evaluation import score
from speechllm_bench.experiments import Study
from speechllm_bench.reports import figures, looks
from speechllm_bench.studies import Result
from speechllm_bench.tasks import ner

COLUMNS = ["variant", "labels", "noise", "ner_f1", "low", "high"]


def noise(rows: Sequence[Result]) -> pd.DataFrame:
    """One row a variant that was scored on its own audio and had gold of all turns or of none, with F1.

    rows: of `studies.records`. `labels` is unfiltered or filtered (gold follows) or alone (none does). Labels
    without noise are gold: twice it stands under both, since there is nothing to filter, once under alone.
    """
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == variant and row["score"]]
        if not mine:
            continue
        config = mine[0]["run"].config
        if config.evaluation.audio == "other" or config.stages[-1].train_share:
            continue
        annotation = next((s.annotation for s in config.stages if s.annotation), None)
        if annotation and annotation.noise is None:
            continue
        f1 = score.interval([row["score"] for row in mine], "ner_f1")
        noise = annotation.noise if annotation else 0.0
        if config.stages[-1].annotation or sum(ner.NAME in stage.tasks for stage in config.stages) == 1:
            labels = ["alone"]
        elif not annotation:
            labels = ["unfiltered", "filtered"]
        else:
            labels = ["filtered" if annotation.filtered else "unfiltered"]
        lines += [(variant, name, noise, f1.value, f1.low, f1.high) for name in labels]
    return pd.DataFrame(lines, columns=COLUMNS).sort_values(["labels", "noise"])


def noise_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """F1 with intervals over noise, a line for each kind of labels; None where none was scored."""
    frame = noise(rows)
    if frame.empty:
        return None
    figure, (ax,) = figures.panels(1)
    kinds = looks.of_axis(study, "labels", frame["labels"])
    for labels, points in frame.groupby("labels"):
        style = kinds[labels]
        bars = [points["ner_f1"] - points["low"], points["high"] - points["ner_f1"]]
        line = {"color": style.colour, "marker": style.marker, "ls": style.dash, "ms": 4}
        line |= {"label": style.label, "elinewidth": 1, "capsize": 2}
        ax.errorbar(100 * points["noise"], points["ner_f1"], bars, **line)
    ax.set_xlabel("noise of the labels (%)")
    ax.set_ylabel(figures.METRIC_LABELS["ner_f1"])
    ax.set_ylim(0, 1.1 * frame["high"].max() or 1)
    figures.legend(figure)
    return figure
