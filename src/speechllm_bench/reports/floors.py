"""Floors: scores of baselines without a model on the same questions (protocol, rule 12).

The baselines are a chance copier, and the whole transcript as the value of every slot. They understand
nothing, so a system that does not clear them has shown nothing. Floors are rows in tables and lines in
figures. A claim gets a verdict only above them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from speechllm_bench.evaluation import score
from speechllm_bench.planning.stored_runs import comparable, scores_of
from speechllm_bench.planning.studies import Result
from speechllm_bench.settings.evaluation_config import EvaluationConfig, Questions, questions_of
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage.schema import Interval
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import METRICS, TASKS

LINES = {
    "whole_transcript": ("floor: whole transcript", (0, (1, 1))),
    "chance_copier": ("floor: chance copier", (0, (4, 2))),
}
"""Label and dash pattern of the floors that figures of slots show."""

NOT_RUN = Status.MISSING.shown
BELOW = "‡"
"""Mark of a row that does not clear the floors of its questions."""


def of(rows: Sequence[Result], variant: str) -> list[str]:
    """Return the variants that are floors of this variant, in the study's order, whether they were run or
    not. Empty for a floor itself.
    """
    asked = _asked(rows).get(variant)
    if asked is None or asked.answerer != "model":
        return []
    return [name for name, floor in _floors(rows).items() if questions_of(floor) == questions_of(asked)]


def cleared(rows: Sequence[Result], variant: str) -> dict[str, bool | None]:
    """Return floor -> whether the variant is above it. None for a floor without a seed in common."""
    return {floor: _above(rows, variant, floor) for floor in of(rows, variant)}


def nothing_right(rows: Sequence[Result], variant: str) -> bool:
    """Return whether a variant has the score 0 in a metric of which more is better, as empty answers have."""
    scores = list(scores_of(rows, variant).values())
    if not scores:
        return False
    main = METRICS[score.main_metric(scores[0])]
    return not main.lower_is_better and score.interval(scores, main.name).value == 0


def above(rows: Sequence[Result], variant: str) -> bool | None:
    """Return whether a variant clears all its floors that were scored. None where none was."""
    known = [one for one in cleared(rows, variant).values() if one is not None]
    return all(known) if known else None


def scored(rows: Sequence[Result]) -> dict[Questions, dict[str, Interval]]:
    """Return questions -> answerer -> main metric, for the floors that have a score."""
    found: dict[Questions, dict[str, Interval]] = {}
    for variant, asked in _floors(rows).items():
        if scores := list(scores_of(rows, variant).values()):
            main = score.interval(scores, score.main_metric(scores[0]))
            found.setdefault(questions_of(asked), {})[asked.answerer] = main
    return found


def draw(ax: Axes, rows: Sequence[Result], groups: Sequence[tuple[str, str]] = ()) -> None:
    """Draw labelled lines at the floors of F1 of slots: for `A-test` across the whole axes, or over groups.

    groups: test set and slot types of each group of bars.
    """
    found = scored(rows)
    for place, (split, slot_types) in enumerate(groups or [("A-test", "in_domain")]):
        _lines(ax, found.get(Questions(split, slot_types=slot_types), {}), place=place if groups else None)


def draw_on_validation(ax: Axes, rows: Sequence[Result]) -> None:
    """Draw lines at the validation floors of F1, else at those of `A-test`, which their labels name."""
    found = scored(rows)
    validation = found.get(Questions("validation"))
    _lines(ax, validation or found.get(Questions("A-test"), {}), "" if validation else ", on A-test")


def _lines(ax: Axes, of_group: Mapping[str, Interval], note: str = "", place: int | None = None) -> None:
    for answerer, (label, dash) in LINES.items():
        if answerer in of_group:
            line(ax, of_group[answerer].value, label + note, dash, place)


def draw_of_table(ax: Axes, frame: pd.DataFrame, answerers: Mapping[str, str]) -> None:
    """Draw lines at the floors of F1 on the first test set in a study's table. answerers: by variant."""
    if "floor" not in frame:
        return
    found = frame[frame["floor"].str.startswith("F1", na=False)]
    for row in found[found["floor"] == next(iter(found["floor"]), None)].to_dict("records"):
        label, dash = LINES[answerers[row["variant"]]]
        if pd.notna(row["f1"]):
            line(ax, row["f1"], label, dash)


def line(ax: Axes, value: float, label: str, dash: object, place: int | None = None) -> None:
    """Draw one floor line across the whole axes, or over the group of bars at `place`."""
    look = {"color": "0.35", "lw": 0.9, "ls": dash, "label": label, "zorder": 0.5}
    if place is None:
        ax.axhline(value, **look)
    else:
        ends = [place - 0.46, place + 0.46], [value, value]
        ax.plot(*ends, color="white", lw=2.2, zorder=2.9)  # behind the line, so that it is seen on dark bars
        ax.plot(*ends, **look | {"zorder": 3})
    if value > (top := ax.get_ylim()[1]) / 1.04:  # keeps a floor above all measured values visible
        ax.set_ylim(top=max(top, 1.08 * value))


def named(rows: Sequence[Result], variant: str) -> str | None:
    """Return what a row is the floor of, such as "SLU-F1, A-test". None for a row of a system."""
    asked = _asked(rows).get(variant)
    if asked is None or (asked.answerer == "model" and asked.audio == "own"):
        return None
    metric = TASKS[asked.task].main.name
    if asked.answerer == "model" and metric != "f1":
        return None
    shown = f"{'F1' if metric == 'f1' else metric}, {questions_of(asked).shown}"
    return f"SLU-{shown}" if asked.answerer == "model" else shown


def called(study: Study) -> dict[str, str]:
    """Return variant -> what a caption calls it: a floor by who answers, any other variant by its label."""
    who = {name: study.variant(name).evaluation.answerer for name in study.variants}
    labels = {name: study.place(name).label for name, answerer in who.items() if answerer == "model"}
    return {name: answerer.replace("_", " ") for name, answerer in who.items()} | labels


def sentence(frame: pd.DataFrame, called: Mapping[str, str] | None = None) -> str:
    """Return the caption's sentences on the floors in a table. called: of `called`; None: by name."""
    said: dict[str, list[str]] = {}
    for row in frame.to_dict("records") if "floor" in frame else ():
        if pd.notna(row["floor"]):
            metric, _, asked = row["floor"].partition(", ")
            value = row.get({"F1": "f1", "SLU-F1": "slu_f1"}.get(metric, metric))
            number = NOT_RUN if value is None or pd.isna(value) else f"{value:.3f}"
            name = (called or {}).get(row["variant"], row["variant"].replace("_", " "))
            shown = METRICS[metric].heading if metric in METRICS else metric
            said.setdefault(f"{shown} on {asked}", []).append(f"{name} {number}")
    if not said:
        return ""
    found = [
        f"Floor{'s' if len(values) > 1 else ''} of {what}: {', '.join(values)}."
        for what, values in said.items()
    ]
    marked = {"f1", "above_floors"} <= set(frame)  # the mark stands beside F1 of slots
    below = frame["above_floors"].eq(False).sum() if marked else 0
    judged = frame["above_floors"].notna().sum() if "above_floors" in frame else 0
    rows = f"{'row' if judged == 1 else 'rows'} that {'is' if below == 1 else 'are'}"
    mark = [f"{BELOW} marks the {below} of {judged} {rows} not above the floors of F1."] if below else []
    return " ".join(["Floors are scores that need no hearing.", *found, *mark])


def floor_names(rows: Sequence[Result]) -> set[str]:
    """Return the variants that are floors: those whose answers come from no model."""
    return set(_floors(rows))


def _above(rows: Sequence[Result], variant: str, floor: str) -> bool | None:
    """Return whether the interval of the paired difference excludes 0 on the better side."""
    own, base = scores_of(rows, variant), scores_of(rows, floor)
    if not (shared := comparable(own, base)):
        return None
    metric = score.main_metric(own[shared[0]])
    found = score.difference([own[s] for s in shared], [base[s] for s in shared], metric)
    return found.high < 0 if METRICS[metric].lower_is_better else found.low > 0


def _floors(rows: Sequence[Result]) -> dict[str, EvaluationConfig]:
    return {variant: asked for variant, asked in _asked(rows).items() if asked.answerer != "model"}


def _asked(rows: Sequence[Result]) -> dict[str, EvaluationConfig]:
    """Return the evaluation of each variant whose run is known."""
    return {row["variant"]: row["run"].config.evaluation for row in rows if row.get("run")}
