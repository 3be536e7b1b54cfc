"""F1 of slots by test set, slot type, value length and turn (length, noise, speaking rate).

The F1 of a bucket is partial match over the slots or turns of that bucket alone. Its interval is a bootstrap
over speakers, with the seeds as they are: it has no variance between seeds.
The predictions are those of one run, or those of several seeds of one variant, one seed after the other.
`version` is the version of partial match. Systems are those of `effects.by_system`.
Neural voices have no speaking rate in words a minute, so their turns have no buckets of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import pairwise, product
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import metrics, stats
from speechllm_bench.data.corpora.single_turns import SingleTurns
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.data.neural_voices import is_neural
from speechllm_bench.evaluation import versions
from speechllm_bench.planning.stored_runs import predictions, scored_variants
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import effects, figures
from speechllm_bench.reports.looks import Looks
from speechllm_bench.storage.schema import Prediction, SlotType, Utterance
from speechllm_bench.tasks import slots

COLUMNS = ["bucket", "metric", "value", "low", "high", "pairs", "turns"]
TURN_WORDS, SNR_DB, WORDS_A_MINUTE, VALUE_WORDS = (6, 10, 15), (20, 25), (128, 147), (2, 4)
"""Edges of the buckets. An edge belongs to the bucket that it opens: 6 words are in the second."""


def by_slot(
    found: Sequence[Prediction], slot_types: Mapping[str, SlotType], version: int = 1
) -> pd.DataFrame:
    """Return the F1 of each slot type that some gold answer has, highest first."""
    wanted = sorted({slot for p in found for slot in slots.parse(p.gold) or ()})
    frame = _frame(found, {slot_types[slot].name: partial(_only, {slot}) for slot in wanted}, version)
    return frame.sort_values(["value", "bucket"], ascending=[False, True], ignore_index=True)


def by_class(
    found: Sequence[Prediction], slot_types: Mapping[str, SlotType], version: int = 1
) -> pd.DataFrame:
    """Return the F1 of slots with closed-class values and of slots with open-class values."""
    closed, open_ = ({t.name for t in slot_types.values() if t.open_class is kind} for kind in (False, True))
    buckets = {"closed class": partial(_only, closed), "open class": partial(_only, open_)}
    return _frame(found, buckets, version)


def by_value_words(found: Sequence[Prediction], version: int = 1) -> pd.DataFrame:
    """Return the recall of gold values by their number of words.

    A wrongly filled slot has no gold value, so its length is unknown and precision is undefined.
    """
    labels = bucket_labels(VALUE_WORDS)

    def of_length(label, prediction, gold, said):
        long = {s: v for s, v in gold.items() if labels[bisect_right(VALUE_WORDS, len(v.split()))] == label}
        return long, said and of_slots(said, long)

    return _frame(found, {label: partial(of_length, label) for label in labels}, version, "recall")


def by_turn(
    found: Sequence[Prediction], utterances: Sequence[Utterance], what: str, version: int = 1
) -> pd.DataFrame:
    """Return F1 by a property of the turn: `words`, `snr` (dB) or `rate` (words a minute, of espeak-ng)."""
    edges, measure = {
        "words": (TURN_WORDS, lambda u: len(u.transcript.split())),
        "snr": (SNR_DB, lambda u: u.voice.snr_db),
        "rate": (WORDS_A_MINUTE, lambda u: u.voice.rate),
    }[what]
    labels = bucket_labels(edges)
    place = {u.id: labels[bisect_right(edges, measure(u))] for u in utterances}

    def within(label, prediction, gold, said):
        return (gold, said) if place[prediction.utterance_id] == label else None

    return _frame(found, {label: partial(within, label) for label in labels}, version)


def _only(names: set[str], prediction, gold, said):
    return tuple(some and of_slots(some, names) for some in (gold, said))


def of_slots(answer: slots.Answer, names: Collection[str]) -> slots.Answer:
    """Return the pairs of an answer that belong to these slots."""
    values = {slot: value for slot, value in answer.items() if slot in names}
    return slots.Answer(values, (pair for pair in answer.given if pair[0] in names))


def _frame(
    found: Sequence[Prediction], buckets: Mapping[str, Callable], version: int, metric: str = "f1"
) -> pd.DataFrame:
    """Return one row per bucket that has gold pairs.

    A bucket is a function of (prediction, gold, said). It returns the part of gold and said that is in the
    bucket, or None if the turn is not in it.
    """
    answers = [(p, slots.parse(p.gold), slots.parse(p.raw)) for p in found]
    lines = []
    for label, keep in buckets.items():
        kept = [(answer[0], part) for answer in answers if (part := keep(*answer)) is not None]
        counts = np.array([versions.counts(gold, said, version) for _, (gold, said) in kept], float)
        n = len({p.example_id for p, _ in kept})  # n per seed: every seed answers the same turns
        pairs = sum(len(gold) for _, (gold, _) in kept[:n])
        if not pairs:
            continue
        ids, speakers = zip(*((p.example_id, p.speaker) for p, _ in kept[:n]), strict=True)
        by_seed = counts.reshape(-1, n, counts.shape[-1])  # (seeds * n, k) -> (seeds, n, k)
        sums = stats.sum_by_speaker(ids, speakers, by_seed)
        value = stats.bootstrap(sums, getattr(metrics, metric), np.random.default_rng(0))
        lines.append((label, metric, value.value, value.low, value.high, pairs, n))
    return pd.DataFrame(lines, columns=COLUMNS)


def bucket_labels(edges: Sequence[int]) -> list[str]:
    """Return the labels of the buckets between these edges, such as `< 20`, `20–24`, `≥ 25`."""
    between = [f"{a}–{b - 1}" for a, b in pairwise(edges)]
    return [f"< {edges[0]}", *between, f"≥ {edges[-1]}"]


@mpl.rc_context(figures.STYLE)
def slots_figure(frames: Mapping[str, pd.DataFrame], looks: Looks) -> Figure:
    """Draw F1 of every slot type (rows, highest first) by system (columns). frames: system -> `by_slot`."""
    import seaborn  # imported here: slow (it loads scipy), and no other figure needs it

    # Labels stand side by side under the columns.
    columns = {fill(looks[name].label, 14): f.set_index("bucket")["value"] for name, f in frames.items()}
    table = pd.DataFrame(columns)
    table = table.loc[table.mean(axis=1).sort_values(ascending=False).index]
    figure, (ax,) = figures.panels(1, "page", height=0.5 + 0.13 * len(table))
    seaborn.heatmap(
        table.rename(index=slots.spoken_name), vmin=0, vmax=1, cmap="cividis", annot=True, fmt=".2f", ax=ax,
        annot_kws={"size": 5}, yticklabels=True, cbar_kws={"label": "F1 (partial match)"},
    )  # fmt: skip
    ax.tick_params(axis="y", labelsize=5)
    ax.set_ylabel("")
    return figure


@mpl.rc_context(figures.STYLE)
def turns_figure(frames: Mapping[str, Mapping[str, pd.DataFrame]], looks: Looks) -> Figure:
    """Draw F1 with intervals by bucket, one panel per property. frames: property -> system -> `by_turn`.

    A property with one bucket is left out, since it shows no change.
    """
    frames = {what: s for what, s in frames.items() if max(map(len, s.values())) > 1} or frames
    figure, axes = figures.panels(len(frames), "page")
    for ax, (what, systems) in zip(axes, frames.items(), strict=True):
        for i, (name, frame) in enumerate(systems.items()):
            style, places, f1 = looks[name], np.arange(len(frame)) + 0.08 * i, frame["value"]
            ax.plot(places, f1, **style.line)
            # With one speaker the interval has no width, but rounding can make it slightly negative.
            bars = np.maximum(0, [f1 - frame["low"], frame["high"] - f1])
            ax.errorbar(places, f1, bars, color=style.colour, ls="", lw=1, capsize=2)
        ax.set_xticks(range(len(frame)), frame["bucket"])
        ax.set_xlim(-0.5, len(frame) - 0.5)
        ax.set_title(what, loc="left", color="0.35")
        ax.set_ylim(0, None)
    axes[0].set_ylabel("F1 (partial match)")
    figures.legend(figure)
    return figure


Parts = dict[str, dict[str, dict[str, pd.DataFrame]]]
"""Bucket property -> test set -> system -> a frame of this module with one row per bucket."""


def parts(
    rows: Sequence[Result],
    names: Sequence[str],
    corpus: Corpus | SingleTurns,
    slot_types: Mapping[str, SlotType],
) -> Parts:
    """Return the F1 of these systems by bucket on each test set, over all scored seeds.

    For `words of the value` the metric is recall. Systems without a score are left out.
    """
    found: Parts = {}
    sets, of_variants = effects.by_system(rows), scored_variants(rows)
    for called, name in product(effects.SETS, names):
        if not (scored := of_variants.get(sets.get(name, {}).get(called, ""))):
            continue
        version = versions.shown_in(scored[0]["score"])
        said = [prediction for row in scored for prediction in predictions(row["run"])]
        turns = corpus.utterances(scored[0]["run"].config.evaluation.split)
        of_turns = {"words of the turn": "words"}
        if all(turn.voice for turn in turns):  # recordings have no known SNR or rate
            of_turns["SNR (dB)"] = "snr"
            if not any(turn.voice and is_neural(turn.voice) for turn in turns):  # their rate is in percent
                of_turns["words a minute"] = "rate"
        frames = {
            "class": by_class(said, slot_types, version),
            "words of the value": by_value_words(said, version),
            **{what: by_turn(said, turns, key, version) for what, key in of_turns.items()},
            "slot": by_slot(said, slot_types, version),
        }
        for what, frame in frames.items():
            found.setdefault(what, {}).setdefault(called, {})[name] = frame
    return found


def parts_table(found: Parts) -> pd.DataFrame:
    """Return one row per bucket: for each test set the number of gold pairs, then each system's value."""
    tables = {}
    for what, sets in found.items():
        columns = {}
        for called, some in sets.items():
            for name, frame in some.items():
                frame = frame.set_index("bucket")
                columns[called, "pairs"] = frame["pairs"].astype("Int64")  # equal for all systems
                columns[called, name] = frame["value"]
        tables[what] = pd.concat(columns, axis=1)
    return pd.concat(tables) if tables else pd.DataFrame()
