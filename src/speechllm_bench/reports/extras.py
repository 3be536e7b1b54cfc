"""Figures and tables that a study's YAML may name beside those that every study has.

Their names stand in `experiments.py` as well, so that a study is refused before anything is run for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.experiments import FigureName, Study, TableName
from speechllm_bench.reports import (
    foundations,
    generalisation,
    levels,
    noise,
    sense,
    slue,
    stability,
    sweep,
    tags,
    traces,
    warm_start,
)
from speechllm_bench.studies import Result

Draw = Callable[[Study, Sequence[Result], pd.DataFrame], Figure | None]
Make = Callable[[Study, Sequence[Result]], pd.DataFrame]
FIGURES: Mapping[FigureName, Draw] = {
    "systems": lambda study, rows, _: generalisation.systems_figure(study, rows),
    "cost": lambda study, rows, _: traces.cost_figure(study, rows),
    "gradients": lambda study, _, curve: stability.gradients_figure(study, curve),
    "families": sweep.families_figure,
    "levels": lambda _, rows, __: levels.levels_figure(rows),
    "types": lambda study, rows, _: foundations.types_figure(study, rows),
    "scale": lambda study, rows, _: foundations.scale_figure(study, rows),
    "settings": lambda study, rows, _: sense.settings_figure(study, rows),
    "noise": lambda study, rows, _: noise.noise_figure(study, rows),
    "seconds": warm_start.cost_figure,
}
"""By ending of the file: of a study, its rows and their curves the figure, or None where there is nothing."""
TABLES: Mapping[TableName, tuple[Make, str]] = {
    "traces": (lambda _, rows: traces.table(rows), traces.CAPTION),
    "changes": (
        lambda study, rows: foundations.display(study, foundations.changes(rows)),
        foundations.CAPTION,
    ),
    "slue": (slue.slue, slue.CAPTION),
    "tags": (lambda _, rows: tags.table(rows), tags.CAPTION),
    "gains": (sense.gains, sense.GAINS_CAPTION),
    "decoding": (lambda _, rows: sense.decoding_cost(rows).round(3), sense.DECODING_CAPTION),
    "alignment": (lambda _, rows: warm_start.alignment(rows), warm_start.CAPTION),
}
"""By ending of the file: of a study and its rows the table, with its caption; an empty one is not written."""
