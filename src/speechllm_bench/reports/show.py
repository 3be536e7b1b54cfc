"""Tables and players that study notebooks show of runs: the plan, scores, and answers to read and hear."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import yaml
from IPython.display import HTML, Audio
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from speechllm_bench.data.audio import SAMPLE_RATE
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.evaluation import score, versions
from speechllm_bench.experiments import Study
from speechllm_bench.reports import figures
from speechllm_bench.reports.curves import read_curve
from speechllm_bench.reports.predictions import predictions
from speechllm_bench.schema import Prediction
from speechllm_bench.studies import Plan, Result, Run
from speechllm_bench.tasks import MAIN_METRICS, METRICS, TASKS
from speechllm_bench.tasks.slots import ERROR_KINDS

__all__ = ["predictions"]  # shown beside what this module makes of them


def full(frame: pd.DataFrame) -> Styler:
    """A table of text with nothing cut off and no index."""
    style = frame.style.hide(axis="index").format(escape="html")  # a trace has tags of its own
    return style.set_properties(**{"text-align": "left", "white-space": "pre-wrap"})


def reported(study: Study) -> pd.DataFrame:
    """Figures that the paper reports, one row a figure."""
    return pd.DataFrame([entry.model_dump() for entry in study.reported])


def plan_table(plan: Plan, study: Study) -> pd.DataFrame:
    """One row a run: what its variant changes of the base, the examples it sees, its status."""
    return pd.DataFrame(
        {
            "variant": run.variant,
            "seed": run.seed,
            "changes": _in_one_line(study.variants[run.variant]),
            "stages": len(run.stages),
            "examples seen": sum(stage.examples for stage in run.config.stages),
            "status": run.status,
        }
        for run in plan.runs
    )


def _in_one_line(settings: dict) -> str:
    plain = json.loads(json.dumps(settings))  # else what variants share is written as YAML's anchors
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).strip()


def best_run(rows: Sequence[Result]) -> Run | None:
    """The best run of those that heard what they answered; None where none of them has a score.

    Of one test set and one main metric, those of the first of them: studies name variants on their
    baseline's test set before those on others.
    """
    heard = _heard(rows)
    if not heard:
        return None
    alike = [row for row in heard if _measured(row) == _measured(heard[0])]
    return max(alike, key=lambda row: _goodness(row["score"]))["run"]


def best_runs(rows: Sequence[Result]) -> dict[str, Run]:
    """The best run of each task that a run with a score heard the turns of."""
    by_task: dict[str, list[Result]] = {}
    for row in _heard(rows):
        by_task.setdefault(row["run"].config.evaluation.task, []).append(row)
    return {task: best for task, some in by_task.items() if (best := best_run(some))}


def answers(found: Sequence[Prediction], n: int = 20) -> pd.DataFrame:
    """The first n answers beside what was said and wanted."""
    return pd.DataFrame(
        {"transcript": p.transcript, "wanted": p.gold, "answered": p.raw, "same": p.raw.strip() == p.gold}
        for p in found[:n]
    )


def errors(rows: Sequence[Result]) -> pd.DataFrame:
    """How many slots met which end, summed over a variant's seeds; one row a variant that is asked."""
    counts = {
        (row["variant"], row["seed"]): row["score"]["error_kinds"]
        for row in rows
        if row["score"] and "error_kinds" in row["score"]
    }
    frame = pd.DataFrame.from_dict(counts, orient="index", columns=list(ERROR_KINDS))
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=["variant", "seed"]) if counts else frame.index
    return frame.groupby("variant", sort=False).sum() if counts else frame


def one_of_each(found: Sequence[Prediction]) -> dict[str, Prediction]:
    """The first answer of every kind of error, by kind; kinds that did not happen are left out.

    Of the slot tasks; an answer to another task is only the same as the gold one or not.
    """
    examples: dict[str, Prediction] = {}
    for prediction in found:
        task = TASKS[prediction.task]
        if task.error_kinds is None:
            right = prediction.raw.strip() == prediction.gold
            examples.setdefault("as wanted" if right else "other than wanted", prediction)
            continue
        for kind in task.error_kinds([prediction], task.parse):
            examples.setdefault(kind, prediction)
    kinds = (*ERROR_KINDS, "as wanted", "other than wanted")
    return {kind: examples[kind] for kind in kinds if kind in examples}


def question(prompt: str, target: str) -> HTML:
    """The prompt that the model reads, and its target."""
    return _sheet({"prompt": prompt, "target": target})


def answer(kind: str, prediction: Prediction) -> HTML:
    """One answer under the kind of error it stands for."""
    lines = {"said": prediction.transcript, "wanted": prediction.gold, "answered": prediction.raw}
    return _sheet({"": kind} | lines)


def samples(corpus: Corpus, split: str, utterance_id: str) -> np.ndarray:
    """The audio (n,) of one utterance, at 16 kHz."""
    ids = [utterance.id for utterance in corpus.utterances(split)]
    return corpus.audio(split, ids.index(utterance_id))


def hear(corpus: Corpus, split: str, utterance_id: str) -> Audio:
    """A player of one utterance."""
    return Audio(samples(corpus, split, utterance_id), rate=SAMPLE_RATE, normalize=False)


def curve_figure(run: Run) -> Figure:
    """One run's losses, in training and validation, and its F1 on validation, over examples seen."""
    curve = read_curve(run.folder / "curve.csv", versions.shown_version(run.profile))
    curve = curve.assign(variant=run.variant, seed=run.seed)
    panels = [("loss", "train"), *((m, "validation") for m in ("loss", *MAIN_METRICS))]
    drawn = [(m, s) for m, s in panels if ((curve["metric"] == m) & (curve["split"] == s)).any()]
    figure, axes = figures.panels(max(1, len(drawn)), "page")
    for (metric, split), ax in zip(drawn, axes):
        figures.learning_curves(curve, ax, metric, split)
    return figure


def metrics(score_record: dict) -> pd.DataFrame:
    """Every metric of a stored score with its interval; one row a metric."""
    found = pd.DataFrame.from_dict(score_record["metrics"], orient="index")
    return found[["value", "low", "high", "n", "n_speakers"]].round(3)


def cost(record: dict) -> pd.DataFrame:
    """The cost of a run, from its run.json."""
    parts = {f"seconds, {name}": seconds for name, seconds in record["seconds"].items()}
    keys = ("examples_per_second", "peak_memory_mib", "padding_share", "threads", "device_kind", "precision")
    lines = parts | {key.replace("_", " "): record[key] for key in keys}
    return pd.DataFrame({"": {k: f"{v:.3g}" if isinstance(v, float) else str(v) for k, v in lines.items()}})


def config_text(run: Run) -> str:
    """The resolved config, as YAML."""
    return yaml.safe_dump(run.config.model_dump(), sort_keys=False)


def _heard(rows: Sequence[Result]) -> list[Result]:
    """The rows with a score of runs that heard the turn that they were asked about: no text LLM did."""
    scored = [(row, row["run"].config) for row in rows if row["score"]]
    return [row for row, config in scored if config.hears and config.evaluation.audio == "own"]


def _measured(row: Result) -> tuple[str, str]:
    return row["run"].config.evaluation.split, score.main_metric(row["score"])


def _goodness(stored: dict) -> float:
    metric = score.main_metric(stored)
    value = stored["metrics"][metric]["value"]
    return -value if METRICS[metric].lower_is_better else value


def _sheet(lines: dict[str, str]) -> HTML:
    rows = [
        f"<tr><th style='text-align:left;vertical-align:top'>{html.escape(name)}</th>"
        f"<td style='text-align:left;white-space:pre-wrap'>{html.escape(text)}</td></tr>"
        for name, text in lines.items()
    ]
    return HTML(f"<table>{''.join(rows)}</table>")
