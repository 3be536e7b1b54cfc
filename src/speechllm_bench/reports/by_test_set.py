"""Each system on test sets A, B-ID and B-OOD: F1 side by side, and the share that is lost on B.

Variants that differ only in the axis `test_set` are one system; it has the name of its variant on A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import stats
from speechllm_bench.evaluation import score
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import figures, floors, looks, measured
from speechllm_bench.settings.experiments import Study
from speechllm_bench.stats import Comparison

AXIS = "test_set"
ASKED = {
    "A": ("A-test", "in_domain"),
    "B-ID": ("B-test", "in_domain"),
    "B-OOD": ("B-test", "out_of_domain"),
}
"""Split and slot types of each test set."""
SETS = tuple(ASKED)
SHOWN = ("A", "B-ID: other wordings", "B-OOD: unseen slot types")
"""Names of the test sets in the figure, in the order of `SETS`."""


def systems(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per system and test set that was scored: `system`, `set`, `f1` with `low` and `high`."""
    lines = []
    for system, sets in by_system(rows).items():
        for called in SETS:
            if scores := [row["score"] for row in sets.get(called, ()) if row["score"]]:
                f1 = score.interval(scores, "f1")
                lines.append((system, called, f1.value, f1.low, f1.high))
    return pd.DataFrame(lines, columns=["system", "set", "f1", "low", "high"])


def by_system(rows: Sequence[Result]) -> dict[str, dict[str, list[Result]]]:
    """Return system -> test set -> its rows, for the systems that are evaluated on A and on B-OOD."""
    found: dict[tuple, dict[str, list[Result]]] = {}
    for row in rows:
        rest = tuple(sorted((axis, key) for axis, key in row["axes"].items() if axis != AXIS))
        found.setdefault(rest, {}).setdefault(row["axes"].get(AXIS, SETS[0]), []).append(row)
    named = {sets["A"][0]["variant"]: sets for sets in found.values() if {"A", "B-OOD"} <= sets.keys()}
    order = [row["variant"] for row in rows]
    return dict(sorted(named.items(), key=lambda one: order.index(one[0])))


LOSSES_CAPTION = (
    "Lost: the F1 on A less that on B, as a share of the F1 on A. There is none if the F1 on A is below "
    "0.05. Above floors: whether the system is above the floors of A and of B-OOD. If it is not, its share "
    "lost says little. In brackets: 95 % interval by bootstrap over seeds and over speakers, which A and B "
    "share."
)


def losses(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per system that was scored on A: F1 on each test set, and the share lost on B.

    2510.15851 reports a loss of 40 to 60 % on unseen slot types for every system. All cells are text.
    `attrs["rests_on"]` maps each system to the variants that its row is made of.
    """
    found = systems(rows)
    lines, rests_on = [], {}
    for system, sets in by_system(rows).items():
        f1 = found[found["system"] == system].set_index("set")[["f1", "low", "high"]]
        if "A" not in f1.index:
            continue
        named = {called: some[0]["variant"] for called, some in sets.items()}
        line = {"system": system}
        for called in SETS:
            there = called in f1.index
            line[f"F1 on {called}"] = stats.with_interval(*f1.loc[called]) if there else "–"
        for called in SETS[1:]:
            line[f"lost on {called}"] = stats.shown(lost(rows, system, named.get(called, "")))
        above = [floors.above(rows, named[called]) for called in ("A", "B-OOD")]
        line["above floors"] = "no" if False in above else "–" if None in above else "yes"
        lines.append(line)
        rests_on[system] = list(named.values())
    frame = pd.DataFrame(lines)
    frame.attrs["rests_on"] = rests_on
    return frame


def lost(rows: Sequence[Result], variant: str, elsewhere: str) -> Comparison | None:
    """Return 1 - F1(elsewhere) / F1(variant) of one system on two test sets. None as in `relative_gain`."""
    gained = measured.relative_gain(rows, elsewhere, variant)
    if gained is None:
        return None
    # The interval of a share lost ends at 1, where nothing is left.
    return replace(gained, value=-gained.value, low=-gained.high, high=min(1.0, -gained.low))


def systems_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals of every system, one group of bars per test set."""
    of_floors = {floor for row in rows for floor in floors.of(rows, row["variant"])}
    frame = systems(rows)
    frame = frame[~frame["system"].isin(of_floors)]
    if frame.empty:
        return None
    by = {"set": list(SETS), "system": list(frame["system"].unique())}
    own = looks.of(study)
    there = [(called, name) for name, sets in by_system(rows).items() for called in sets]
    figure, (ax,) = figures.panels(1, "page")
    figures.grouped_bars(frame, by, ax, own, there=there)
    ax.set_xticks(range(len(SETS)), SHOWN)
    floors.draw(ax, rows, list(ASKED.values()))
    figures.legend(figure)
    return figure
