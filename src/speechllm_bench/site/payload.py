"""Data of a study for the page: its tables, and the inputs of intervals, curves and answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from speechllm_bench.cite import comparing
from speechllm_bench.evaluation import score, seeds, versions
from speechllm_bench.metrics import class_f1, f1, precision, quotient, recall, wer
from speechllm_bench.planning import stored_runs
from speechllm_bench.planning.stored_runs import StoredRun
from speechllm_bench.reports import looks, tables
from speechllm_bench.settings.experiments import Study
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.site import beside, draws, packed, run_answers
from speechllm_bench.stats import Statistic
from speechllm_bench.storage.numbers import Row
from speechllm_bench.storage.outputs import read_curve
from speechllm_bench.tasks import MAIN_METRICS, METRICS, TASKS, Metric

RULES: dict[Statistic, str] = {
    f1: "f1",
    precision: "precision",
    recall: "recall",
    quotient: "quotient",
    wer.rate: "rate",
    class_f1.macro: "macro",
    class_f1.weighted: "weighted",
}
"""Names in assets/stats.js of the metric rules that the page can compute. Others are only in tables."""
SHOWN_CURVES = ("loss", *MAIN_METRICS)
FURTHER = {"precision_v2", "recall_v2", "f1_v2"}  # the plain names have the version to show


def runs_of(study: Study, profile: str, rows: Sequence[Row]) -> dict[str, list[StoredRun]]:
    """Return the stored runs of each variant, in the order of the study.

    So curves name a training after the variant that it was made for, and not after a control that shares it.
    """
    own = {row.name: row for row in rows if row.table == study.study}
    place = {name: i for i, name in enumerate(study.variants)}
    ordered = sorted(own, key=lambda name: place.get(name, len(place)))
    return {name: stored_runs.runs_of(own[name], profile) for name in ordered}


def study_payload(
    study: Study, profile: str, rows: Sequence[Row], found: Mapping[str, list[StoredRun]]
) -> dict:
    """Return all that the page shows of a study at a profile, except single answers. found: see `runs_of`."""
    own = [row for row in rows if row.table == study.study]
    systems, groups, metrics = _systems(own, found)
    shown = looks.of(study)
    order = {name: i for i, name in enumerate([*study.variants, *beside.claims_of(study)])}
    return {
        "study": study.study,
        "profile": profile,
        "title": study.title,
        "question": study.question,
        "paper": study.paper,
        "baselines": study.baselines,
        "smoke": base_profile(profile) == "smoke",
        "headings": tables.headings({name for row in own for name in row.cells}),
        "captions": beside.captions(study, profile, rows),
        "meanings": beside.MEANINGS,
        "claims": beside.claims_of(study),
        "rows": [
            _row(row) | {"marks": beside.marks(study, row, found)}
            for row in sorted(rows, key=lambda row: order.get(row.name, len(order)))
        ],
        "looks": {row.name: _look(shown[row.name]) for row in own},
        "systems": systems,
        "groups": groups,
        "metrics": metrics,
        "labels": {"loss": "loss"} | {name: METRICS[name].shown for name in MAIN_METRICS},
        "curves": _curves(found, profile),
        "share": seeds.table()["share_of_an_evaluation"],
    }


def draws_for(made: Mapping) -> Iterator[tuple[int, set[int]]]:
    """Yield speakers and degrees of freedom of the intervals in a study's payload, slices included."""
    for system in made["systems"].values():
        pooled = {made["metrics"][name]["pooled"][system["audio"]] is not None for name in system["metrics"]}
        needed = set().union(*(draws.freedom(len(system["seeds"]), known) for known in pooled | {True}))
        for n_speakers in made["groups"][system["group"]]["sizes"]:
            yield n_speakers, needed


def _look(look: looks.Look) -> tuple[str, str, str]:
    """Return label, colour and dash pattern of a variant's lines."""
    label, colour, _, dash = look
    return label, colour, "" if isinstance(dash, str) else " ".join(f"{2 * part:g}" for part in dash[1])


def _row(row: Row) -> dict:
    """Return a row of a table with its cells. Its `made_of` is left out; numbers.json has it."""
    about = asdict(row)
    del about["made_of"]
    cells = {name: [c.shown, *_ends(c)] for name, c in row.cells.items()}
    return about | {"name": row.name, "cells": cells}


def _ends(cell) -> list:
    known = [cell.value, cell.low, cell.high]
    return known if cell.low is not None else known[:1] if cell.value is not None else []


def _systems(own: Sequence[Row], found: Mapping[str, list]) -> tuple[dict, list, dict]:
    """Return variants with their sums by seed and speaker, the test sets that they share, and the metrics."""
    systems: dict[str, dict] = {}
    groups: dict[tuple, dict] = {}
    metrics: dict[str, dict] = {}
    for row in own:
        some = stored_runs.alike(found[row.name])
        if not some:
            continue
        first = some[0]
        task = TASKS[score.task_of(first.score)]
        if task.main.rule not in RULES:
            continue
        told = [m for m in task.metrics if m.column and m.name not in FURTHER and m.rule in RULES]
        shown = [m for m in told if all(m.counts in one.score["sums"] for one in some)]
        metrics |= {m.name: _metric(m, first.score) for m in shown}
        key = (first.score["items"], task.main.name)
        group = groups.setdefault(key, {"set": row.test_set, "task": task.name, "main": task.main.name})
        speakers = first.score["speakers"]
        sizes = sorted({len(speakers), *comparing.voices(speakers).values()})
        group |= {"sizes": sizes, "n": first.score["n"]}
        systems[row.name] = {
            "group": list(groups).index(key),
            "seeds": [one.seed for one in some],
            "runs": [one.digest for one in some],
            "training": first.score["training"],
            "trained": first.record["trained_parameters"] > 0,
            "audio": first.score["audio"],
            "floor": first.config["evaluation"]["answerer"] != "model",
            "metrics": [m.name for m in shown],
            "turns": run_answers.set_name(first),
            "sums": {
                counts: [packed.counts(one.score["sums"][counts]) for one in some]
                for counts in dict.fromkeys(m.counts for m in shown)
            },
        }
    labels = comparing.told_apart(f"{group['set']} ({group['task']})" for group in groups.values())
    shown_groups = [group | {"label": label} for group, label in zip(groups.values(), labels, strict=True)]
    return systems, shown_groups, metrics


def _metric(metric: Metric, shown: Mapping) -> dict:
    name = versions.stored_name(metric.name, shown)
    return {
        "heading": metric.heading,
        "label": metric.shown,
        "counts": metric.counts,
        "rule": RULES[metric.rule],
        "lower": metric.lower_is_better,
        "most": None if metric.most == float("inf") else metric.most,
        "unit": metric.unit,
        "pooled": {audio: seeds.pooled(name, audio) for audio in ("own", "other")},
    }


def _curves(found: Mapping[str, list], profile: str) -> list[dict]:
    """Return validation curves over examples seen, a line for each stage of training.

    A training appears once, under the first variant that uses it.
    """
    lines, seen = [], set()
    for variant, some in found.items():
        for one in some:
            stages = tuple(one.record.get("stages", ()))
            file = one.folder / "curve.csv"
            if not stages or stages in seen or not file.is_file():
                continue
            seen.add(stages)
            curve = read_curve(file, versions.shown_version(profile))
            curve = curve[(curve["split"] == "validation") & curve["value"].notna()]
            points: dict[tuple, list] = {}
            columns = (curve[name].tolist() for name in ("stage", "metric", "examples", "value"))
            for stage, metric, x, y in zip(*columns, strict=True):
                points.setdefault((stage, metric), []).append([int(x), float(f"{y:.5g}")])
            about = {"variant": variant, "seed": one.seed}
            for (stage, metric), mine in points.items():
                if metric in SHOWN_CURVES:
                    lines.append(about | {"metric": metric, "stage": stage, "points": mine})
    return sorted(lines, key=lambda line: SHOWN_CURVES.index(line["metric"]))
