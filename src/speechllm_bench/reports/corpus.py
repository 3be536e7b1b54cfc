"""The content of a spoken corpus, as tables and figures for its notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench.data.audio import SAMPLE_RATE
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.reports import figures
from speechllm_bench.schema import SlotType, Utterance


def splits(corpus: Corpus) -> pd.DataFrame:
    """Sizes, one row a split."""
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
    """How many speakers two splits have in common (protocol, rule 1)."""
    found = {split: {u.speaker for u in corpus.utterances(split)} for split in corpus.splits}
    return pd.DataFrame({a: {b: len(found[a] & found[b]) for b in found} for a in found})


def slots(corpus: Corpus, slot_types: Mapping[str, SlotType]) -> pd.DataFrame:
    """One row a slot type: what it is, and how often each split fills it."""
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
    """How long the turns of a split are, how noisy, and how many slots each fills."""
    utterances = corpus.utterances(split)
    shown: dict[str, Any] = {
        "seconds": corpus.n_samples(split) / SAMPLE_RATE,
        "SNR in dB": [u.voice.snr_db for u in utterances if u.voice],
        "slots a turn": [len(u.slots) for u in utterances],
    }
    shown = {name: values for name, values in shown.items() if len(values)}  # of recordings no SNR is known
    figure, axes = figures.panels(len(shown), "page")
    for (name, values), ax in zip(shown.items(), axes):
        bins = np.arange(-0.5, max(values) + 1) if name == "slots a turn" else 20
        ax.hist(values, bins, color="#0072B2")
        ax.set_xlabel(name)
    axes[0].set_ylabel(f"turns of {split}")
    return figure


def spectrogram(samples: np.ndarray) -> Figure:
    """Energy in dB over time and frequency, windows of 25 ms every 10 ms; samples (n,) at 16 kHz."""
    figure, (ax,) = figures.panels(1, "page", height=2.0)
    window, hop = SAMPLE_RATE // 40, SAMPLE_RATE // 100
    ax.specgram(samples + 1e-6, NFFT=window, Fs=SAMPLE_RATE, noverlap=window - hop, cmap="magma")
    ax.grid(False)
    ax.set_xlabel("seconds")
    ax.set_ylabel("Hz")
    return figure


def call(utterances: Sequence[Utterance], call_id: str) -> str:
    """A call as text up to its last caller turn, filled slots below each turn."""
    turns = [u for u in utterances if u.call_id == call_id]
    lines, said = [f"{turns[0].company}, {turns[0].domain}: {turns[0].intent}", ""], 0
    for turn in turns:
        lines += [f"{earlier.role}: {earlier.text}" for earlier in turn.context[said:]]
        lines.append(f"caller: {turn.transcript}")
        lines += [f"    {slot.slot} = {slot.value}  ({slot.canonical})" for slot in turn.slots]
        said = len(turn.context) + 1
    return "\n".join(lines)
