"""The study of the CTC warm start: alignment and slots of each training, over examples and over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.experiments import Study
from speechllm_bench.reports import figures, floors, looks
from speechllm_bench.reports.curves import read_curve
from speechllm_bench.schema import SECONDS
from speechllm_bench.studies import Result

FAMILY = "mlp"  # the adapter whose variants are drawn: all of them would be too many lines
CAPTION = (
    "At the end of each stage, on validation, means over seeds. WER, CTC: of greedy decoding by the CTC head "
    "at the end of the warm start. WER, LLM: of the LLM's answers at the end of transcription. "
    "Core-seconds: seconds of training steps times threads; on a GPU seconds alone."
)


def alignment(rows: Sequence[Result]) -> pd.DataFrame:
    """One row a variant that was trained and hears its own audio; "–" where a training has no such stage.

    rows: of `studies.records`.
    """
    found: dict[str, list[dict]] = {}
    for row in rows:
        file = row["run"].folder / "curve.csv" if row["record"] else None
        if file and file.is_file() and row["run"].stages and row["run"].config.evaluation.audio == "own":
            found.setdefault(row["variant"], []).append(_end(read_curve(file), row["record"]))
    ends = {variant: pd.DataFrame(some).mean() for variant, some in found.items()}
    return pd.DataFrame([{"variant": variant} | _shown(end) for variant, end in ends.items()])


def _end(curve: pd.DataFrame, record: dict) -> dict[str, float]:
    """The last values on validation of one training, and what it took; NaN where it has no such stage."""
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
    """The factor from seconds to core-seconds; 1 on a GPU."""
    return record["threads"] if record["device_kind"] == "cpu" else 1


def timed(rows: Sequence[Result], curve: pd.DataFrame) -> pd.DataFrame:
    """The curve with a column `seconds`: core-seconds of training at each point, the mean over seeds.

    rows: of `studies.records`; curve: of `reports.study.curves`. Points of a curve without a clock are left
    out.
    """
    threads = {(row["variant"], row["seed"]): _cores(row["record"]) for row in rows if row["record"]}
    clock = curve[curve["metric"] == SECONDS].copy()
    pairs = zip(clock["variant"], clock["seed"], strict=True)
    clock["seconds"] = clock["value"] * [threads[pair] for pair in pairs]
    by = ["variant", "stage", "step"]
    mean = clock.groupby(by, sort=False)["seconds"].mean().reset_index()
    mean["seconds"] += 1e-6 * mean["step"]  # a clock of hundredths may not tell two points apart
    return curve.merge(mean, on=by)


def cost_figure(study: Study, rows: Sequence[Result], curve: pd.DataFrame) -> Figure | None:
    """Validation WER and F1 of one adapter's variants over core-seconds; None without a curve."""
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
