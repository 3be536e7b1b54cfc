"""Training progress: learning curves over examples and time, repeated trainings, gradients, warm starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.evaluation import versions
from speechllm_bench.planning import studies
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import figures, floors, looks
from speechllm_bench.reports.stored_runs import LATER, curve_text, read_curve
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage.schema import CURVE_COLUMNS, SECONDS
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import MAIN_METRICS


def curves(rows: Sequence[studies.Result]) -> pd.DataFrame:
    """Return the curve of every run, with `variant` and `seed`. A training that runs share appears once."""
    frames, seen = [], set()
    for row in rows:
        if row["record"] is None or row["run"].stages in seen:
            continue
        file = row["run"].folder / "curve.csv"
        if not file.is_file():
            continue
        seen.add(row["run"].stages)
        curve = read_curve(file, versions.shown_version(row["profile"]))
        frames.append(curve.assign(variant=row["variant"], seed=row["seed"]))
    empty = pd.DataFrame(columns=[*CURVE_COLUMNS, "variant", "seed"])
    return pd.concat(frames, ignore_index=True) if frames else empty


def curves_figure(study: Study, rows: Sequence[studies.Result]) -> Figure | None:
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


class Again(NamedTuple):
    """A stage that was trained more than once for one seed."""

    sentence: str  # for the caption
    trainings: list[str]  # for a list below the table: one item per training


LISTED = "The list below the table says for which variants, and where each training ended."


def trained_again(rows: Sequence[Result]) -> list[Again]:
    """Return an entry for each stage that was trained again for the same seed, with another result.

    Weights of stages are not stored with the records. A later run that finds no weights trains the stage
    again with the same settings. On another machine the result differs slightly, and so do the rows that
    build on it. Trainings are told apart by their curves. rows: from `studies.records`.
    """
    ends: dict[tuple[str, str], dict[tuple, tuple[list[str], str]]] = {}  # stage -> curve -> variants, ends
    for row in rows:
        if row["record"] is None or not (file := row["run"].folder / "curve.csv").is_file():
            continue
        lines = curve_text(file).splitlines()  # parsing as text is fast enough for all studies at once
        for digest, stage in zip(row["run"].stages, row["run"].config.stages, strict=True):
            mine = (line for line in lines if line.startswith(f"{stage.name},"))
            # Left out: the seconds of no two trainings are equal, and older curves lack the later metric.
            told_apart = (f",train,{SECONDS},", f",{LATER},")
            own = tuple(line for line in mine if not any(part in line for part in told_apart))
            trainings = ends.setdefault((stage.name, digest), {})
            trainings.setdefault(own, ([], _last(own)))[0].append(row["variant"])
    by_seed: dict[tuple, list[list[str]]] = {}  # stage, variants of each training -> by seed, their ends
    for (name, _), trainings in ends.items():
        if len({end for _, end in trainings.values()}) > 1:
            who = tuple(tuple(variants) for variants, _ in trainings.values())
            by_seed.setdefault((name, who), []).append([end for _, end in trainings.values()])
    found = []
    for (name, who), of_seeds in by_seed.items():
        items = [
            f"Stage {name}, training {i + 1}, for {', '.join(variants)}. "
            f"It ended on validation, seed by seed, at: {'; '.join(ended[i] for ended in of_seeds)}."
            for i, variants in enumerate(who)
        ]
        found.append(Again(f"The stage {name} was trained {len(who)} times.", items))
    return found


def _last(lines: Sequence[str]) -> str:
    """Return the last value of each validation metric among these lines of a curve."""
    parts = [line.split(",") for line in lines if ",validation," in line]
    last = {metric: float(value) for *_, metric, value in parts}
    return ", ".join(f"{metric} {value:.3f}" for metric, value in last.items())


def trainings(curve: pd.DataFrame, metric: str) -> int:
    """Return the number of different trainings behind a metric's validation curves; variants may share one.

    curve: the runs' curve.csv, concatenated, with `variant`. Two variants share a training if all values of
    the stages that have the metric are equal.
    """
    chosen = curve[(curve["metric"] == metric) & (curve["split"] == "validation")]
    whole = curve[curve["stage"].isin(chosen["stage"]) & curve["variant"].isin(chosen["variant"])]
    return len({tuple(points["value"]) for _, points in whole.groupby("variant")})


def gradients(rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """Return one row per variant: seeds run and diverged, largest gradient norm before
    clipping, number of spikes.

    rows: from `studies.records`. curve: from `curves`. A spike is a step whose gradient norm is above
    `training.loop.SPIKE` times the median of its part of the curve. The norm is the largest over
    seeds; spikes and steps are means per seed. NaN where no seed was run, or where the shared training
    is listed under another variant.
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
    """Draw the largest gradient norm (log scale) and the training loss over examples.

    None without a curve.
    """
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


FAMILY = "mlp"  # only variants of this adapter are drawn, to keep the number of lines readable
ALIGNMENT_CAPTION = (
    "At the end of each stage, on validation, means over seeds. WER, CTC: of greedy decoding by the CTC head "
    "at the end of the warm start. WER, LLM: of the LLM's answers at the end of transcription. "
    "Core-seconds: seconds of training steps times threads; on a GPU seconds alone."
)


def alignment(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per variant that was trained and hears its own audio. "–" where it lacks a stage.

    rows: from `studies.records`.
    """
    found: dict[str, list[dict]] = {}
    for row in rows:
        file = row["run"].folder / "curve.csv" if row["record"] else None
        if file and file.is_file() and row["run"].stages and row["run"].config.evaluation.audio == "own":
            found.setdefault(row["variant"], []).append(_end(read_curve(file), row["record"]))
    ends = {variant: pd.DataFrame(some).mean() for variant, some in found.items()}
    return pd.DataFrame([{"variant": variant} | _shown(end) for variant, end in ends.items()])


def _end(curve: pd.DataFrame, record: dict) -> dict[str, float]:
    """Return one training's last validation values and its cost. NaN where it lacks the stage."""
    validated = curve[curve["split"] == "validation"]
    last = validated.groupby(["stage", "metric"])["value"].last()
    return {
        "wer_ctc": last.get(("warm_start", "wer"), math.nan),
        "wer_llm": last.get(("transcription", "wer"), math.nan),
        "f1": last.get(("slots", "f1"), math.nan),
        "examples": curve["examples"].max(),
        "seconds": curve[curve["metric"] == SECONDS]["value"].max() * _cores(record),
    }


def _shown(end: pd.Series) -> dict[str, str]:
    def shown(name: str, form: str) -> str:
        return "–" if pd.isna(end[name]) else format(end[name], form)

    return {
        "WER, CTC": shown("wer_ctc", ".3f"),
        "WER, LLM": shown("wer_llm", ".3f"),
        "validation F1": shown("f1", ".3f"),
        "examples": shown("examples", ",.0f"),
        "core-seconds": shown("seconds", ",.0f"),
    }


def _cores(record: dict) -> int:
    """Return the factor from seconds to core-seconds; 1 on a GPU."""
    return record["threads"] if record["device_kind"] == "cpu" else 1


def timed(rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """Return the curve with a column `seconds`: core-seconds of training at each
    point, as the mean over seeds.

    rows: from `studies.records`. curve: from `curves`. Points without a recorded time are left out.
    """
    threads = {(row["variant"], row["seed"]): _cores(row["record"]) for row in rows if row["record"]}
    clock = curve[curve["metric"] == SECONDS].copy()
    pairs = zip(clock["variant"], clock["seed"], strict=True)
    clock["seconds"] = clock["value"] * [threads[pair] for pair in pairs]
    by = ["variant", "stage", "step"]
    mean = clock.groupby(by, sort=False)["seconds"].mean().reset_index()
    mean["seconds"] += 1e-6 * mean["step"]  # keeps points in order whose times, in hundredths, are equal
    return curve.merge(mean, on=by)


def seconds_figure(study: Study, rows: Sequence[Result], curve: pd.DataFrame) -> Figure | None:
    """Draw validation WER and F1 of the variants of one adapter over core-seconds. None without a curve."""
    adapters = {row["variant"]: row["run"].config.adapter for row in rows if row["record"]}
    chosen = [name for name, adapter in adapters.items() if adapter and adapter.kind == FAMILY]
    drawn = timed(rows, curve[curve["variant"].isin(chosen)])
    validated = drawn[drawn["split"] == "validation"]
    panels = [metric for metric in ("wer", "f1") if (validated["metric"] == metric).any()]
    if not panels:
        return None
    figure, axes = figures.panels(len(panels), "page")
    for metric, ax in zip(panels, axes, strict=True):
        figures.learning_curves(drawn, ax, metric, x="seconds", looks=looks.of(study))
        if metric == "f1":
            floors.draw_on_validation(ax, rows)
    figures.legend(figure)
    return figure
