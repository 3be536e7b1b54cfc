"""One system on several test sets: in-domain, other companies and wordings, unseen slot types.

Variants that differ in the axis `test_set` alone are one system, which has the name of its variant on A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.evaluation import score, versions
from speechllm_bench.experiments import Study
from speechllm_bench.reports import breakdown, figures, floors, looks
from speechllm_bench.reports.predictions import predictions
from speechllm_bench.schema import SlotType
from speechllm_bench.studies import Result

AXIS = "test_set"

ASKED = {
    "A": ("A-test", "in_domain"),
    "B-ID": ("B-test", "in_domain"),
    "B-OOD": ("B-test", "out_of_domain"),
}
"""Split and slot types of each test set."""
SETS = tuple(ASKED)

Parts = dict[str, dict[str, dict[str, pd.DataFrame]]]
"""By what the buckets are of, by test set, by system: a frame of `breakdown`, one row a bucket."""


def systems(rows: Sequence[Result]) -> pd.DataFrame:
    """One row a system and test set that was scored: `system`, `set`, `f1` with `low` and `high`.

    rows: of `studies.records`. Systems that were evaluated on A alone are left out.
    """
    lines = []
    for system, sets in _by_system(rows).items():
        for called in SETS:
            if scores := [row["score"] for row in sets.get(called, ()) if row["score"]]:
                f1 = score.interval(scores, "f1")
                lines.append((system, called, f1.value, f1.low, f1.high))
    return pd.DataFrame(lines, columns=["system", "set", "f1", "low", "high"])


def _by_system(rows: Sequence[Result]) -> dict[str, dict[str, list[Result]]]:
    """The rows of each system that is evaluated on A and on B-OOD, by its name and by test set."""
    found: dict[tuple, dict[str, list[Result]]] = {}
    for row in rows:
        rest = tuple(sorted((axis, key) for axis, key in row["axes"].items() if axis != AXIS))
        found.setdefault(rest, {}).setdefault(row["axes"].get(AXIS, SETS[0]), []).append(row)
    named = {sets["A"][0]["variant"]: sets for sets in found.values() if {"A", "B-OOD"} <= sets.keys()}
    order = [row["variant"] for row in rows]
    return dict(sorted(named.items(), key=lambda one: order.index(one[0])))


def losses(rows: Sequence[Result]) -> pd.DataFrame:
    """One row a system: F1 on each test set, and the share of A's that is lost on B-ID and B-OOD.

    2510.15851 finds 40 to 60 % lost on unseen slot types, whatever the system.
    """
    wide = systems(rows).pivot(index="system", columns="set", values="f1")
    wide = wide.reindex(columns=list(SETS)).reindex(systems(rows)["system"].unique())
    for called in ("B-ID", "B-OOD"):
        wide[f"lost on {called}"] = 1 - wide[called] / wide["A"]
    return wide.reset_index()


def systems_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """F1 with intervals of every system, a group of bars a test set; None where nothing was scored."""
    of_floors = {floor for row in rows for floor in floors.of(rows, row["variant"])}
    frame = systems(rows)
    frame = frame[~frame["system"].isin(of_floors)]
    if frame.empty:
        return None
    by = {"set": list(SETS), "system": list(frame["system"].unique())}
    own = looks.of(study)
    return figures.bars_figure(frame, by, own, lambda ax: floors.draw(ax, rows, list(ASKED.values())))


def parts(
    rows: Sequence[Result], names: Sequence[str], corpus: Corpus, slot_types: Mapping[str, SlotType]
) -> Parts:
    """Where the F1 of these systems comes from on each test set, over all seeds that were scored.

    Of `words of the value` it is recall. What was not scored is left out.
    """
    found: Parts = {}
    by_system = _by_system(rows)
    for called in SETS:
        for name in names:
            scored = [row for row in by_system.get(name, {}).get(called, ()) if row["score"]]
            if not scored:
                continue
            runs, version = [row["run"] for row in scored], versions.shown_in(scored[0]["score"])
            said = [prediction for run in runs for prediction in predictions(run)]
            turns = corpus.utterances(runs[0].config.evaluation.split)
            of_turns = {"words of the turn": "words"}
            if all(turn.voice for turn in turns):  # of recordings neither is known
                of_turns |= {"SNR (dB)": "snr", "words a minute": "rate"}
            frames = {
                "class": breakdown.by_class(said, slot_types, version),
                "words of the value": breakdown.by_value_words(said, version),
                **{what: breakdown.by_turn(said, turns, key, version) for what, key in of_turns.items()},
                "slot": breakdown.by_slot(said, slot_types, version),
            }
            for what, frame in frames.items():
                found.setdefault(what, {}).setdefault(called, {})[name] = frame
    return found


def parts_table(found: Parts) -> pd.DataFrame:
    """One row a bucket; of each test set the gold pairs in it, then the value of every system."""
    tables = {}
    for what, sets in found.items():
        columns = {}
        for called, some in sets.items():
            for name, frame in some.items():
                frame = frame.set_index("bucket")
                columns[called, "pairs"] = frame["pairs"].astype("Int64")  # the same of every system
                columns[called, name] = frame["value"]
        tables[what] = pd.concat(columns, axis=1)
    return pd.concat(tables) if tables else pd.DataFrame()
