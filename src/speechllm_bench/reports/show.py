"""Displays for notebooks: tables, figures and audio players of corpora, runs and answers."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import yaml
from IPython.display import HTML, Audio
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from speechllm_bench.data.audio import SAMPLE_RATE, encode_opus, to_int16
from speechllm_bench.data.clips import COMPRESSION
from speechllm_bench.data.corpora.single_turns import SingleTurns
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.evaluation import score, versions
from speechllm_bench.planning.stored_runs import predictions
from speechllm_bench.planning.studies import Plan, Result, Run
from speechllm_bench.reports import figures
from speechllm_bench.reports.measured import kinds
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage.outputs import read_curve
from speechllm_bench.storage.schema import Prediction, SlotType, Utterance
from speechllm_bench.tasks import MAIN_METRICS, METRICS, TASKS
from speechllm_bench.tasks.slots import ERROR_KINDS

__all__ = ["predictions"]  # re-exported for notebooks


def full(frame: pd.DataFrame) -> Styler:
    """Return a table of text without an index in which nothing is cut off."""
    style = frame.style.hide(axis="index").format(escape="html")  # escaped: a trace contains tags of its own
    return style.set_properties(**{"text-align": "left", "white-space": "pre-wrap"})


def reported_figures(study: Study) -> pd.DataFrame:
    """Return the figures that the paper reports, one row per figure."""
    return pd.DataFrame([entry.model_dump() for entry in study.reported])


def plan_table(plan: Plan, study: Study) -> pd.DataFrame:
    """Return one row per run: what its variant changes in the base, the examples it sees, its status."""
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
    plain = json.loads(json.dumps(settings))  # removes shared objects, which YAML would write as anchors
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).strip()


def best_run(rows: Sequence[Result]) -> Run | None:
    """Return the best of the runs that heard the audio they were asked about. None where none has a score.

    Only runs with the first row's test set and main metric are compared. Studies name variants on their
    baseline's test set before those on other test sets.
    """
    heard = _heard(rows)
    if not heard:
        return None
    alike = [row for row in heard if _measured(row) == _measured(heard[0])]
    return max(alike, key=lambda row: _goodness(row["score"]))["run"]


def best_runs(rows: Sequence[Result]) -> dict[str, Run]:
    """Return the best run of each task, among scored runs that heard the audio they were asked about."""
    by_task: dict[str, list[Result]] = {}
    for row in _heard(rows):
        by_task.setdefault(row["run"].config.evaluation.task, []).append(row)
    return {task: best for task, some in by_task.items() if (best := best_run(some))}


def answers(found: Sequence[Prediction], n: int = 20) -> pd.DataFrame:
    """Return the first n answers with the transcript and the gold answer."""
    return pd.DataFrame(
        {"transcript": p.transcript, "wanted": p.gold, "answered": p.raw, "same": p.raw.strip() == p.gold}
        for p in found[:n]
    )


def error_table(rows: Sequence[Result]) -> pd.DataFrame:
    """Return the number of slots per kind of error, for each variant with a slot task."""
    return kinds(rows, "error_kinds", ERROR_KINDS)


def one_of_each(found: Sequence[Prediction]) -> dict[str, Prediction]:
    """Return an answer of every kind of error. Kinds that did not occur are left out.

    It is the first one in which all slots are of that kind, or else the first one with such a slot. An answer
    to another task than slots has one of two kinds: equal to the gold answer or not.
    """
    examples: dict[str, Prediction] = {}
    pure: dict[str, Prediction] = {}  # all of whose slots are of one kind
    for prediction in found:
        task = TASKS[prediction.task]
        if task.error_kinds is None:
            right = prediction.raw.strip() == prediction.gold
            examples.setdefault("as wanted" if right else "other than wanted", prediction)
            continue
        there = task.error_kinds([prediction], task.parse)
        for kind in there:
            (pure if len(there) == 1 else examples).setdefault(kind, prediction)
    examples |= pure
    kinds = (*ERROR_KINDS, "as wanted", "other than wanted")
    return {kind: examples[kind] for kind in kinds if kind in examples}


def question(prompt: str, target: str) -> HTML:
    """Return the prompt that the model reads, and its target, for display."""
    return HTML(sheet({"prompt": prompt, "target": target}))


def answer(kind: str, said: Prediction) -> HTML:
    """Return one answer under its kind of error, for display."""
    return HTML(sheet({"": kind, "said": said.transcript, "wanted": said.gold, "answered": said.raw}))


def samples(corpus: Corpus | SingleTurns, split: str, utterance_id: str) -> np.ndarray:
    """Return the audio (n,) of one utterance, at 16 kHz."""
    ids = [utterance.id for utterance in corpus.utterances(split)]
    return corpus.audio(split, ids.index(utterance_id))


def hear(corpus: Corpus | SingleTurns, split: str, utterance_id: str) -> Audio:
    """Return a player of one utterance, with the sound as Opus, so that stored notebooks can keep it."""
    sound = to_int16(samples(corpus, split, utterance_id))
    player = Audio(encode_opus(sound, SAMPLE_RATE, COMPRESSION))
    player.mimetype = "audio/ogg"  # of a player of bytes it would be audio/wav
    return player


def curve_figure(run: Run) -> Figure:
    """Draw one run's training and validation loss and its main metrics on validation, over examples seen."""
    curve = read_curve(run.folder / "curve.csv", versions.shown_version(run.profile))
    curve = curve.assign(variant=run.variant, seed=run.seed)
    panels = [("loss", "train"), *((m, "validation") for m in ("loss", *MAIN_METRICS))]
    drawn = [(m, s) for m, s in panels if ((curve["metric"] == m) & (curve["split"] == s)).any()]
    figure, axes = figures.panels(max(1, len(drawn)), "page")
    for (metric, split), ax in zip(drawn, axes):
        figures.learning_curves(curve, ax, metric, split)
    return figure


def metric_table(score_record: dict) -> pd.DataFrame:
    """Return every metric of a stored score with its interval, one row per metric."""
    found = pd.DataFrame.from_dict(score_record["metrics"], orient="index")
    return found[["value", "low", "high", "n", "n_speakers"]].round(3)


def cost(record: dict) -> pd.DataFrame:
    parts = {f"seconds, {name}": seconds for name, seconds in record["seconds"].items()}
    keys = ("examples_per_second", "peak_memory_mib", "padding_share", "threads", "device_kind", "precision")
    lines = parts | {key.replace("_", " "): record[key] for key in keys}
    return pd.DataFrame({"": {k: f"{v:.3g}" if isinstance(v, float) else str(v) for k, v in lines.items()}})


def config_text(run: Run) -> str:
    return yaml.safe_dump(run.config.model_dump(), sort_keys=False)


def _heard(rows: Sequence[Result]) -> list[Result]:
    """Return the scored rows whose model heard the turn it was asked about. Text LLMs are left out."""
    scored = [(row, row["run"].config) for row in rows if row["score"]]
    return [row for row, config in scored if config.hears and config.evaluation.audio == "own"]


def _measured(row: Result) -> tuple[str, str]:
    return row["run"].config.evaluation.split, score.main_metric(row["score"])


def _goodness(stored: dict) -> float:
    metric = score.main_metric(stored)
    value = stored["metrics"][metric]["value"]
    return -value if METRICS[metric].lower_is_better else value


def sheet(lines: dict[str, str]) -> str:
    """Return texts under their names as a table in HTML, in which line breaks stay."""
    rows = [
        f"<tr><th style='text-align:left;vertical-align:top;padding-right:1em'>{html.escape(name)}</th>"
        f"<td style='text-align:left;white-space:pre-wrap'>{html.escape(text)}</td></tr>"
        for name, text in lines.items()
    ]
    return f"<table>{''.join(rows)}</table>"


def split_table(corpus: Corpus) -> pd.DataFrame:
    """Return the sizes of a corpus, one row per split."""
    lines = {}
    for split in corpus.splits:
        utterances = corpus.utterances(split)
        lines[split] = {
            "caller turns": len(utterances),
            "calls": len({u.call_id for u in utterances}),
            "speakers": len({u.speaker for u in utterances}),
            "domains": len({u.domain for u in utterances}),
            "minutes": round(float(corpus.n_samples(split).sum()) / SAMPLE_RATE / 60, 1),
            "words a turn": round(float(np.mean([len(u.transcript.split()) for u in utterances])), 1),
            "slots a turn": round(float(np.mean([len(u.slots) for u in utterances])), 2),
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def shared_speakers(corpus: Corpus) -> pd.DataFrame:
    """Return the number of speakers that each pair of splits has in common (protocol, rule 1)."""
    found = {split: {u.speaker for u in corpus.utterances(split)} for split in corpus.splits}
    return pd.DataFrame({a: {b: len(found[a] & found[b]) for b in found} for a in found})


def slot_table(corpus: Corpus, slot_types: Mapping[str, SlotType]) -> pd.DataFrame:
    """Return one row per slot type: its properties, and how often each split fills it."""
    counts = {
        split: Counter(slot.slot for u in corpus.utterances(split) for slot in u.slots)
        for split in corpus.splits
    }
    return pd.DataFrame(
        {
            "slot": kind.name,
            "description": kind.description,
            "domain": kind.domain,
            "values": "open class" if kind.open_class else "closed class",
            "asked in": "out of domain alone" if kind.ood else "all splits",
            **{split: counts[split][kind.name] for split in corpus.splits},
        }
        for kind in slot_types.values()
    )


def distributions(corpus: Corpus, split: str) -> Figure:
    """Draw histograms of a split's turns: duration, SNR, and number of slots."""
    utterances = corpus.utterances(split)
    shown: dict[str, Any] = {
        "seconds": corpus.n_samples(split) / SAMPLE_RATE,
        "SNR in dB": [u.voice.snr_db for u in utterances if u.voice],
        "slots a turn": [len(u.slots) for u in utterances],
    }
    shown = {name: values for name, values in shown.items() if len(values)}  # recordings have no known SNR
    figure, axes = figures.panels(len(shown), "page")
    for (name, values), ax in zip(shown.items(), axes):
        bins = np.arange(-0.5, max(values) + 1) if name == "slots a turn" else 20
        ax.hist(values, bins, color="#0072B2")
        ax.set_xlabel(name)
    axes[0].set_ylabel(f"turns of {split}")
    return figure


def spectrogram(samples: np.ndarray) -> Figure:
    """Draw energy in dB over time and frequency, with 25 ms windows every 10 ms. samples: (n,) at 16 kHz."""
    figure, (ax,) = figures.panels(1, "page", height=2.0)
    window, hop = SAMPLE_RATE // 40, SAMPLE_RATE // 100
    ax.specgram(samples + 1e-6, NFFT=window, Fs=SAMPLE_RATE, noverlap=window - hop, cmap="magma")
    ax.grid(False)
    ax.set_xlabel("seconds")
    ax.set_ylabel("Hz")
    return figure


def call(utterances: Sequence[Utterance], call_id: str) -> str:
    """Return a call as text up to its last caller turn, with the filled slots below each turn."""
    turns = [u for u in utterances if u.call_id == call_id]
    lines, said = [f"{turns[0].company}, {turns[0].domain}: {turns[0].intent}", ""], 0
    for turn in turns:
        lines += [f"{earlier.role}: {earlier.text}" for earlier in turn.context[said:]]
        lines.append(f"caller: {turn.transcript}")
        lines += [f"    {slot.slot} = {slot.value}  ({slot.canonical})" for slot in turn.slots]
        said = len(turn.context) + 1
    return "\n".join(lines)
