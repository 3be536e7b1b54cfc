"""Training progress: learning curves over examples and time, gradients, warm starts, convergence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.evaluation import versions
from speechllm_bench.planning.stored_runs import curve_file
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import figures, floors, looks
from speechllm_bench.reports.claims import BELOW_FLOOR, Verdict
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage.outputs import read_curve
from speechllm_bench.storage.schema import CURVE_COLUMNS, SECONDS
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import MAIN_METRICS


def curves(rows: Sequence[Result]) -> pd.DataFrame:
    """Return the curve of every run, with `variant` and `seed`. A training that runs share appears once."""
    frames, seen = [], set()
    for row in rows:
        if not (file := curve_file(row)) or row["run"].stages in seen:
            continue
        seen.add(row["run"].stages)
        curve = read_curve(file, versions.shown_version(row["profile"]))
        frames.append(curve.assign(variant=row["variant"], seed=row["seed"]))
    empty = pd.DataFrame(columns=[*CURVE_COLUMNS, "variant", "seed"])
    return pd.concat(frames, ignore_index=True) if frames else empty


def curves_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw validation loss and the decoded tasks' metrics over examples seen. None without a curve.

    With more lines than a reader can tell apart, only the trainings of `study.telling` are drawn. With more
    than six lines per panel there is one row of panels per six. A panel in which all variants share one
    training is left out. A training has the name of the first variant that uses it, on any test set.
    """
    curve = curves(rows)
    if curve["variant"].nunique() > figures.MOST_LINES:
        telling = {row["run"].stages for row in rows if row["record"] and row["variant"] in study.telling}
        curve = curves([row for row in rows if row["record"] and row["run"].stages in telling])
    names = ("loss", *MAIN_METRICS)
    n_lines = {metric: trainings(curve, metric) for metric in names}
    panels = [m for m in names if n_lines[m] > 1] or [m for m in names if n_lines[m]]
    if not panels:
        return None
    rows_of = figures.groups(list(curve["variant"].unique()))
    figure, axes = figures.panels(len(panels), "page", rows=len(rows_of))
    for ax, (shown, metric) in zip(axes, itertools.product(rows_of, panels), strict=True):
        figures.learning_curves(curve[curve["variant"].isin(shown)], ax, metric, looks=looks.of(study))
        if not ax.has_data():  # none of these variants has the metric
            ax.remove()
        elif metric == "f1":
            floors.draw_on_validation(ax, rows)
    for column in range(len(panels)):
        figures.same_limits([ax for ax in axes[column :: len(panels)] if ax.has_data()])
    figures.legend(figure)
    return figure


def trainings(curve: pd.DataFrame, metric: str) -> int:
    """Return the number of different trainings behind a metric's validation curves; variants may share one.

    Two variants share a training if all validation values of the stages that have the metric are equal, to
    the digits that two machines agree in.
    """
    validated = curve[curve["split"] == "validation"]
    chosen = validated[validated["metric"] == metric]
    whole = validated[validated["stage"].isin(chosen["stage"]) & validated["variant"].isin(chosen["variant"])]
    shown = whole["value"].map("{:.3g}".format)
    return len({tuple(values) for _, values in shown.groupby(whole["variant"])})


def gradients(rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """Return one row per variant: seeds run and diverged, largest gradient norm before clipping, spikes.

    A spike is a step whose gradient norm is above `training.learning_curve.SPIKE` times the median of its
    part of the curve. Spikes and steps are means per seed. NaN where no seed was run, or where the shared
    training is listed under another variant.
    """
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        found = [row for row in rows if row["variant"] == variant and row["record"]]
        drawn = curve[(curve["variant"] == variant) & (curve["split"] == "train")]
        spikes = drawn[drawn["metric"] == "gradient_spikes"]["value"].sum()
        line = {"variant": variant, "seeds run": len(found)}
        line["diverged"] = sum(row["status"] == Status.DIVERGED for row in found)
        line["largest gradient norm"] = drawn[drawn["metric"] == "gradient_norm_max"]["value"].max()
        line["spikes a seed"] = spikes / drawn["seed"].nunique() if len(drawn) else math.nan
        line["steps a seed"] = drawn.groupby(["seed", "stage"])["step"].max().groupby("seed").sum().mean()
        lines.append(line)
    return pd.DataFrame(lines)


def gradients_figure(study: Study, curve: pd.DataFrame) -> Figure | None:
    """Draw the largest gradient norm (log scale) and the training loss over examples."""
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


FAMILY = "mlp"  # only variants of this adapter are drawn, so that lines can be told apart
ALIGNMENT_CAPTION = (
    "Values are at the end of a stage, as means over seeds. WER, CTC: greedy decoding by the CTC head, after "
    "the warm start. WER, LLM: answers of the LLM, after transcription. Core-seconds are seconds of training "
    "steps times threads, on a GPU seconds. Compare them on one machine, in one arithmetic, alone."
)
ENDS = dict.fromkeys(("WER, CTC", "WER, LLM", "validation F1"), ".3f")
ENDS |= dict.fromkeys(("examples", "core-seconds"), ",.0f")
"""Columns with their formats."""


def alignment(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per variant that was trained and hears its own audio. "–" where it lacks a stage."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        if curve_file(row) and row["run"].stages and row["run"].config.evaluation.audio == "own":
            found.setdefault(row["variant"], []).append(_end(row))
    ends = {variant: pd.DataFrame(some).mean() for variant, some in found.items()}
    return pd.DataFrame(
        {"variant": variant}
        | {name: "–" if pd.isna(end[name]) else format(end[name], form) for name, form in ENDS.items()}
        for variant, end in ends.items()
    )


def _end(row: Result) -> dict[str, float]:
    """Return one training's last validation values and its cost. NaN where it lacks the stage."""
    curve = curves([row])
    validated = curve[curve["split"] == "validation"]
    last = validated.groupby(["stage", "metric"])["value"].last()
    return {
        "WER, CTC": last.get(("warm_start", "wer"), math.nan),
        "WER, LLM": last.get(("transcription", "wer"), math.nan),
        "validation F1": last.get(("slots", "f1"), math.nan),
        "examples": curve["examples"].max(),
        "core-seconds": curve[curve["metric"] == SECONDS]["value"].max() * _cores(row["record"]),
    }


def _cores(record: dict) -> int:
    """Return the factor from seconds to core-seconds; 1 on a GPU."""
    return record["threads"] if record["device_kind"] == "cpu" else 1


def timed(rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """Return the curve's timed points, with `seconds`: core-seconds of training as the mean over seeds."""
    threads = {(row["variant"], row["seed"]): _cores(row["record"]) for row in rows if row["record"]}
    clock = curve[curve["metric"] == SECONDS].copy()
    pairs = zip(clock["variant"], clock["seed"], strict=True)
    clock["seconds"] = clock["value"] * [threads[pair] for pair in pairs]
    by = ["variant", "stage", "step"]
    mean = clock.groupby(by, sort=False)["seconds"].mean().reset_index()
    mean["seconds"] += 1e-6 * mean["step"]  # keeps points in order whose times, in hundredths, are equal
    return curve.merge(mean, on=by)


def seconds_figure(study: Study, rows: Sequence[Result], curve: pd.DataFrame) -> Figure | None:
    """Draw validation WER and F1 of the variants of one adapter over core-seconds."""
    adapters = {row["variant"]: row["run"].config.adapter for row in rows if row["record"]}
    chosen = [name for name, adapter in adapters.items() if adapter and adapter.kind == FAMILY]
    drawn = timed(rows, curve[curve["variant"].isin(chosen)])
    figure = validation_figure(study, rows, drawn, ("wer", "f1"), "seconds")
    for ax in figure.axes if figure else []:
        if ax.get_ylabel() == figures.METRIC_LABELS["wer"]:
            ax.set_ylabel("WER (of the CTC head or of the LLM)")
    return figure


def validation_figure(
    study: Study, rows: Sequence[Result], curve: pd.DataFrame, metrics: Sequence[str], x: str = "examples"
) -> Figure | None:
    """Draw those of the metrics that were measured on validation turns, with the floors of F1."""
    held = set(curve.loc[curve["split"] == "validation", "metric"])
    if not (shown := [metric for metric in metrics if metric in held]):
        return None
    figure, axes = figures.panels(len(shown), "page")
    for metric, ax in zip(shown, axes):
        figures.learning_curves(curve, ax, metric, x=x, looks=looks.of(study))
        if metric == "f1":
            floors.draw_on_validation(ax, rows)
    figures.legend(figure)
    return figure


def heading(title: str, rows: Sequence[Result], profile: str) -> str:
    """Return the title of a table of values on validation turns, and the number of turns answered."""
    stages = [s for row in rows if row["record"] for s in row["run"].config.stages if s.decoded_turns]
    turns = " or ".join(sorted({f"{stage.decoded_turns}" for stage in stages}))
    what = f"F1 (partial match, version {versions.shown_version(profile)}) and WER"
    return f"{title}, profile {profile}." + f" {what} are of {turns} validation turns." * bool(turns)


COUNTED = ("last stage", "all stages")
CONVERGENCE = ["training", "counted", "examples of the baseline", "examples", "sooner", "verdict"]
CONVERGENCE_CAPTION = (
    "Examples until the F1 on validation first reaches the baseline's last F1 of the same seed. F1 is "
    "decoded a few times in a training, so the numbers are coarse. Examples are means over the seeds that "
    "reach it. Sooner: seeds with which the training needs fewer examples than the baseline. No interval is "
    "known of these numbers, so a verdict is weak at most. It needs several seeds with the same answer. Not "
    "testable: the stages before the last one alone have as many examples as the baseline."
)
NEVER = float("inf")


def convergence(study: Study, rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """Return two rows per training other than the baseline's: examples of its last stage, and of all stages.

    All cells are text. Empty without a curve of the baseline.
    """
    base = reached(curve, study.baseline, study.baseline)
    above = floors.above(rows, study.baseline)
    lines = []
    for variant in curve["variant"].unique():
        own = reached(curve, variant, study.baseline)
        shared = [seed for seed in own if seed in base]
        if variant == study.baseline or not shared:
            continue
        for place, counted in enumerate(COUNTED):
            pairs = [(own[seed][place], base[seed][place]) for seed in shared]
            sooner = [a < b for a, b in pairs]
            late = place and all(before_last(curve, variant, seed) >= base[seed][place] for seed in shared)
            said = BELOW_FLOOR if above is False else convergence_verdict(pairs, not late)
            means = [_mean(some) for some in zip(*pairs, strict=True)]
            lines.append((variant, counted, *means[::-1], f"{sum(sooner)} of {len(sooner)} seeds", said))
    return pd.DataFrame(lines, columns=CONVERGENCE if lines else None)


def reached(curve: pd.DataFrame, variant: str, baseline: str) -> dict[int, tuple[float, float]]:
    """Return seed -> examples until the variant's validation F1 reaches the baseline's last one.

    The two numbers are the examples in its last stage alone and in all stages; infinite where it is never
    reached. Points of earlier stages count as reached with 0 examples of the last stage.
    """
    f1 = curve[(curve["metric"] == "f1") & (curve["split"] == "validation")]
    levels = f1[f1["variant"] == baseline].groupby("seed")["value"].last()
    found = {}
    for seed, points in f1[f1["variant"] == variant].groupby("seed"):
        if seed not in levels:
            continue
        first = points.loc[points["value"] >= levels[seed], "examples"].min()
        before = before_last(curve, variant, seed)
        found[int(seed)] = (NEVER, NEVER) if pd.isna(first) else (max(0.0, first - before), float(first))
    return found


def before_last(curve: pd.DataFrame, variant: str, seed: int) -> float:
    """Return the examples of all stages before the last one of a training."""
    whole = curve[(curve["variant"] == variant) & (curve["seed"] == seed)]
    before = whole.loc[whole["stage"] != whole["stage"].iloc[-1], "examples"].max()
    return 0 if pd.isna(before) else float(before)


def convergence_verdict(pairs: Sequence[tuple[float, float]], testable: bool = True) -> Verdict:
    """Judge "the training converges sooner" by (its examples, the baseline's) of each seed.

    A few points of a curve have no interval. So the verdict is weak, and it needs several seeds.
    testable: False where the training is later by design.
    """
    if not testable:
        return "not testable here"
    if len(pairs) > 1 and all(a < b for a, b in pairs):
        return "weak support"
    if len(pairs) > 1 and all(a > b for a, b in pairs):
        return "weak contradiction"
    return "inconclusive"


def _mean(examples: Sequence[float]) -> str:
    there = [n for n in examples if n != NEVER]
    return f"{sum(there) / len(there):,.0f}" if there else "never"
