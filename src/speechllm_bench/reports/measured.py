"""Measurements of each variant: metrics with intervals, paired differences, gains, cost of decoding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from speechllm_bench import stats
from speechllm_bench.evaluation import score, seeds
from speechllm_bench.planning.stored_runs import comparable, scored_variants, scores_of, shared_seeds
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import floors, tables, unmixed
from speechllm_bench.stats import LEAST_DIFFERENCE, Comparison, differ
from speechllm_bench.storage.schema import Interval
from speechllm_bench.tasks import METRICS, USUAL


def study_table(
    rows: Sequence[Result],
    baseline: str,
    reported: Mapping[str, float],
    tasks: Sequence[str] = (USUAL,),
    other_baselines: Sequence[str] = (),
) -> pd.DataFrame:
    """Return one row per variant, in the order of `rows`. Numbers are unrounded, NaN where there is none.

    reported: variant -> the paper's main metric. tasks: the tasks of the variants, which decide the columns.
    other_baselines: for variants that answer other questions than the baseline.

    Metrics are over the seeds that have a score. Differences are in the task's main metric, over the seeds
    that the baseline has as well, and only where both answered the same questions.
    Raises UserError as `unmixed.refuse_mixtures` does.
    """
    unmixed.refuse_mixtures(rows)
    by_variant: dict[str, list[Result]] = {}
    for row in rows:
        by_variant.setdefault(row["variant"], []).append(row)
    baselines = {name: scores_of(rows, name) for name in (baseline, *other_baselines)}
    lines = []
    for variant, runs in by_variant.items():
        line = {"variant": variant, "status": _status(runs), **_cost(runs)}
        if scores := scores_of(rows, variant):
            line |= _quality(scores)
            for base in baselines.values() if variant not in baselines else ():
                if shared := comparable(scores, base):
                    line |= _difference(scores, base, shared)
                    break
            line["above_floors"] = floors.above(rows, variant)
        line["floor"] = floors.named(rows, variant)
        line["reported"] = reported.get(variant)
        lines.append(line)
    _test(lines)
    frame = pd.DataFrame(lines, columns=tables.named(tasks))
    not_always = [metric.name for metric in METRICS.values() if not metric.always]
    later = [f"{name}{end}" for name in not_always for end in ("", "_low", "_high")]
    sometimes = frame.columns.intersection(
        [tables.AFTER_READING, *tables.BEFORE, *tables.FLOORS, tables.EXCLUDED, *later]
    )
    frame = frame.drop(columns=[column for column in sometimes if frame[column].isna().all()])
    return frame.astype({column: "Int64" for column in tables.WHOLE if column in frame})


def arithmetics(rows: Sequence[Result]) -> list[str]:
    """Return sentences on rows of precision `mixed` that were answered in another arithmetic than most rows.

    `mixed` computes in bf16 where the processor is fast in it, so two rows of a table can differ.
    """
    found: dict[str | None, list[str]] = {}
    for row in rows:
        record = row["record"]
        mixed = record and record.get("precision") == "mixed"
        if mixed and record["config"]["evaluation"]["answerer"] == "model":
            found.setdefault(record.get("arithmetic"), []).append(row["variant"])
    ways = Counter(variant for variants in found.values() for variant in set(variants))
    named = {
        name: ", ".join(f"some of {one}" if ways[one] > 1 else one for one in dict.fromkeys(variants))
        for name, variants in found.items()
    }
    if len(named) < 2:
        return []
    unknown = named.pop(None, None)
    most, *others = sorted(named, key=lambda name: -len(found[name]))
    told = "".join(f", except those of {named[name]} ({name})" for name in others)
    return [
        f"Answers were computed in {most}{told}.",
        *([f"The arithmetic of {unknown} is not on record."] if unknown else []),
    ]


def main_metric(rows: Sequence[Result], variant: str) -> Comparison | None:
    """Return the main metric of one variant without building the table. None where it has no score."""
    scores = list(scores_of(rows, variant).values())
    return score.interval(scores, score.main_metric(scores[0])) if scores else None


def main_metrics(
    rows: Sequence[Result], variants: Mapping[tuple[str, str], str], columns: Sequence[str]
) -> pd.DataFrame:
    """Return a row for each pair of keys whose variant was scored: keys, main metric, `low` and `high`.

    columns: the names of the keys and of the metric.
    """
    found = {pair: main_metric(rows, variant) for pair, variant in variants.items()}
    lines = [(*pair, one.value, one.low, one.high) for pair, one in found.items() if one]
    return pd.DataFrame(lines, columns=[*columns, "low", "high"])


def gain(
    rows: Sequence[Result],
    better: str,
    worse: str,
    beyond: Sequence[str] | None = None,
    metric: str | None = None,
) -> Comparison | None:
    """Return F1(better) - F1(worse), minus the same difference of the pair `beyond` if given.

    It covers the seeds that all variants have; None where there is none. Other tasks than slots use their
    main metric, with the sign flipped where lower is better. metric: in place of the main one.
    """
    variants = (better, worse, *(beyond or ()))
    scores = [scores_of(rows, name) for name in variants]
    if not (shared := shared_seeds(scores)):
        return None
    metric = metric or score.main_metric(scores[0][shared[0]])
    sign = -1 if METRICS[metric].lower_is_better else 1
    weights = [sign * weight for weight in (1, -1, -1, 1)[: len(variants)]]
    return score.contrast([[s[i] for i in shared] for s in scores], weights, metric)


def relative_gain(rows: Sequence[Result], variant: str, over: str) -> Comparison | None:
    """Return the difference of two variants' main metrics divided by the second's, on the seeds of both.

    It is above 0 where the first variant is better. None where no seed is shared, or where the second's score
    is below `LEAST_DIFFERENCE`, since a ratio to almost nothing has no meaning. The second rule applies to
    metrics where higher is better. The two may be one system on two test sets; speakers of both are drawn
    together.
    """
    own, base = (scores_of(rows, name) for name in (variant, over))
    if not (shared := shared_seeds([own, base])):
        return None
    metric = score.main_metric(own[shared[0]])
    of = METRICS[metric].rule
    pair = [stats.stack_seeds([score.speaker_sums(one[s], metric) for s in shared]) for one in (own, base)]
    sign = -1 if METRICS[metric].lower_is_better else 1
    first, second = (float(of(part.sums.sum(axis=1)).mean()) for part in pair)
    if sign > 0 and second < LEAST_DIFFERENCE:
        return None
    # First-order variance of the quotient between seeds, with the derivative to each of its two sides as
    # weight.
    weights = [1 / max(second, 1e-9), -first / max(second, 1e-9) ** 2]
    between = seeds.variance([own[shared[0]], base[shared[0]]], weights, metric, n_seeds=len(shared))

    def relative(sums: np.ndarray) -> np.ndarray:
        found, before = (of(part) for part in np.split(sums, 2, axis=-1))
        return sign * (found / np.maximum(before, 1e-9) - 1)  # the denominator of a bootstrap draw can be 0

    return stats.contrast([stats.side_by_side(pair)], [1], relative, score.rng(), between)


def _status(runs: Sequence[Result]) -> str:
    """Summarise the statuses of a variant's seeds: "ok", or "2 ok, 1 diverged"."""
    found = Counter(run["status"] for run in runs)
    return next(iter(found)) if len(found) == 1 else ", ".join(f"{n} {s}" for s, n in found.items())


def _cost(runs: Sequence[Result]) -> dict:
    """Return parameters and amounts of data, and wall seconds as the mean over seeds."""
    recorded = [run for run in runs if run["record"]]
    records = [run["record"] for run in recorded]
    if not records:
        return {}
    trained, llm = (records[0][key] for key in ("trained_parameters", "llm_parameters"))
    seconds = sum(record["wall_seconds"] for record in records) / len(records)
    record = records[0]
    seen = {key: record[key] for key in tables.UNEQUAL} | {key: record.get(key) for key in tables.BEFORE}
    seen[tables.EXCLUDED] = len(record.get("data", {}).get("excluded", ())) or None
    seen[tables.AFTER_READING] = _after_reading(recorded[0])
    return {"trained_parameters": trained, "llm_share": trained / llm, **seen, "seconds": seconds}


def _after_reading(run: Result) -> int | None:
    """Return the parameters that were trained in stages after one that reads. None where no stage reads.

    A stage that reads trains LoRA alone. It is the same for all adapters, and LoRA is often frozen after it.
    """
    record, stages = run["record"], run["run"].config.stages if run.get("run") else []
    after = [stage for stage in stages if not stage.reads]
    if len(after) == len(stages):
        return None
    if any("lora" in stage.train for stage in after):
        return record["trained_parameters"]
    return record["adapter_parameters"] + record["classifier_parameters"]


def _quality(scores: dict[int, dict]) -> dict:
    one = next(iter(scores.values()))
    main = score.main_metric(one)
    in_all = set.intersection(*(set(s["metrics"]) for s in scores.values()))
    held = [m.name for m in tables.of_task(score.task_of(one)) if m.name in in_all or m.always]
    found = {name: score.interval(list(scores.values()), name) for name in held}
    rests_on = found[main]
    line: dict[str, Any] = {"n": rests_on.n, "speakers": rests_on.n_speakers, "seeds": rests_on.n_seeds}
    line["partial_match_version"] = one["versions"].get("partial_match")
    for name, interval in found.items():
        line |= _three(name, interval)
    return line


def _difference(scores: dict[int, dict], base: dict[int, dict], shared: list[int]) -> dict:
    metric = score.main_metric(scores[shared[0]])
    found = score.difference([scores[s] for s in shared], [base[s] for s in shared], metric)
    tested = {"difference_p": found.p, "difference_se": found.standard_error}
    return {**_three("difference", found), **tested, "difference_seeds": found.n_seeds, "compared": found}


def _test(lines: list[dict]) -> None:
    """Apply Holm's correction to the differences of a table, and mark those that count as differences."""
    tested = [line for line in lines if "compared" in line]
    for line, p in zip(tested, stats.holm([line["difference_p"] for line in tested]), strict=True):
        line |= {"difference_p": p, "differs": differ(line.pop("compared"), p)}


def _three(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def kinds(rows: Sequence[Result], key: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return the counts under a key of the scores, summed over seeds: one row per variant that has any."""
    counts: dict[str, Counter] = {}
    for row in rows:
        if row["score"] and key in row["score"]:
            counts.setdefault(row["variant"], Counter()).update(row["score"][key])
    frame = pd.DataFrame.from_dict(counts, orient="index", columns=list(columns), dtype=int)
    return frame.rename_axis("variant")


def by_question(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per variant with single questions: accuracy with its interval, and accuracy by question.

    A last row per task, `commonest answer`, is the accuracy of always giving the most frequent gold answer to
    a question. Shares are over all seeds.
    """
    lines, guesses = [], {}
    for variant, mine in scored_variants(rows).items():
        if "answers" not in mine[0]["score"]:
            continue
        found, task = [row["score"] for row in mine], mine[0]["run"].config.evaluation.task
        accuracy = score.interval(found, "accuracy")
        lines.append(
            {"variant": variant, "task": task, "accuracy": accuracy.value, "low": accuracy.low}
            | {"high": accuracy.high, **_shares(found, "right")}
        )
        guesses[task] = {"variant": "commonest answer", "task": task, **_shares(found, "commonest")}
    return pd.DataFrame([*lines, *guesses.values()])


def _shares(scores: list[dict], what: str) -> dict[str, float]:
    """Return question -> share of all its answers."""
    kinds = {asks: [s["answers"][asks] for s in scores] for asks in scores[0]["answers"]}
    return {asks: sum(k[what] for k in some) / sum(k["n"] for k in some) for asks, some in kinds.items()}


def positions(rows: Sequence[Result], seconds: np.ndarray) -> pd.DataFrame:
    """Return steps per 30 s and mean LLM positions of pooling adapters. seconds: (n,) of the test turns."""
    lines = {}
    for row in rows:
        config = row["run"].config.adapter if row["run"] else None  # None where a backbone is missing
        if config and config.kind == "pooling":
            steps = np.ceil(seconds * config.steps_per_30s / 30)
            lines[row["variant"]] = (row["variant"], config.steps_per_30s, round(float(steps.mean()), 1))
    return pd.DataFrame(lines.values(), columns=["variant", "steps of 30 s", "positions a turn"])


DECODING_CAPTION = (
    "Seconds are those of decoding the whole test set, in the same batches, on one machine that may have "
    "had other work. `times` is their ratio to greedy decoding with the same weights."
)


def decoding_cost(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per scored run: its main metric, seconds of decoding, and their ratio to those of the
    greedy run of the same training, NaN where there is none.
    """
    greedy, lines = {}, []
    for row in (scored := [row for row in rows if row["score"]]):
        asked = row["run"].config.evaluation
        if not asked.beams and asked.audio == "own":
            greedy[row["run"].stages, asked.task] = row["record"]["seconds"]["decode"]
    for row in scored:
        asked, seconds = row["run"].config.evaluation, row["record"]["seconds"]["decode"]
        line = {"variant": row["variant"], "seed": row["seed"], "beams": asked.beams or 1}
        line["main metric"] = row["score"]["metrics"][score.main_metric(row["score"])]["value"]
        line["seconds of decoding"] = seconds
        line["times"] = seconds / greedy.get((row["run"].stages, asked.task), float("nan"))
        lines.append(line)
    return pd.DataFrame(lines).round(3)
