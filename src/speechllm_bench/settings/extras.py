"""Optional figures and tables, one line each. A study's YAML names those that it wants."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Extra(NamedTuple):
    """A figure or a table of a study, stored as `<study>_<name>`.

    Its function gets those of these arguments that its signature names: `study`, `rows` (from
    `studies.records`) and `curve` (from `progress.curves`). It returns a Figure, or None if there is nothing
    to draw; or a table, which is not written if empty.
    """

    kind: Literal["figure", "table"]
    link: str  # its name in the summary of a profile
    made_by: str | None  # module and function in `reports`; None: made by a notebook
    caption: str | None = None  # of a table: module and constant in `reports`
    of_validation: bool = False  # whether its values are of validation turns


EXTRAS = {  # in the order of the summary
    "gradients": Extra("figure", "gradients", "progress.gradients_figure"),
    "families": Extra("figure", "families", "sizes.families_figure"),
    "systems": Extra("figure", "systems on three test sets", "effects.systems_figure"),
    "levels": Extra("figure", "levels", "sizes.levels_figure"),
    "traces": Extra("table", "traces", "traces.table", "traces.CAPTION"),
    "cost": Extra("figure", "F1 against tokens of an answer", "traces.cost_figure"),
    "types": Extra("figure", "types", "traces.types_figure"),
    "scale": Extra("figure", "scale", "traces.scale_figure"),
    "settings": Extra("figure", "settings", "effects.settings_figure"),
    "noise": Extra("figure", "noise of labels", "sizes.noise_figure"),
    "alignment": Extra("table", "alignment", "progress.alignment", "progress.ALIGNMENT_CAPTION", True),
    "seconds": Extra("figure", "curves over core-seconds", "progress.seconds_figure"),
    "changes": Extra("table", "changes", "traces.changes_table", "traces.CHANGES_CAPTION"),
    "losses": Extra("table", "share of F1 lost on B", "effects.losses", "effects.LOSSES_CAPTION"),
    "convergence": Extra(
        "table", "convergence", "progress.convergence", "progress.CONVERGENCE_CAPTION", True
    ),
    "retention": Extra("table", "skills left", None),
    "slue": Extra("table", "SLUE score", "effects.slue_scores", "effects.SLUE_CAPTION"),
    "gains": Extra("table", "relative gains", "effects.gains", "effects.GAINS_CAPTION"),
    "decoding": Extra("table", "cost of decoding", "measured.decoding_cost", "measured.DECODING_CAPTION"),
    "tags": Extra("table", "F1 by tag", "named_entities.tags_table", "named_entities.TAGS_CAPTION"),
    "boundaries": Extra("table", "boundaries of entities", None),
    "labels": Extra("table", "labels by filter", None),
    "errors": Extra("table", "errors of labels", None),
}
FIGURES = tuple(name for name, extra in EXTRAS.items() if extra.kind == "figure")
TABLES = tuple(name for name, extra in EXTRAS.items() if extra.kind == "table" and extra.made_by)
