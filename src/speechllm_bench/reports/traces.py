"""Traces (2510.19326): what supervision with them changes of each LLM, their cost, whether they appear when
asked for and contain the answer's values, and the turns where they helped or hurt.

Variants of its studies have a value on the axes `llm` and `supervision`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from statistics import fmean

import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import metrics, stats
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score, versions
from speechllm_bench.planning.stored_runs import predictions, scored_variants
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import effects, figures, floors, looks, measured, sizes, tables
from speechllm_bench.reports.measured import kinds
from speechllm_bench.settings.experiments import Study
from speechllm_bench.storage.schema import Interval, Prediction
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import METRICS, TASKS, trace
from speechllm_bench.tasks.metric import TOKENS

USUAL = "regular"  # the supervision that changes are measured against
CHANGES = ["foundation", "supervision", "f1", "low", "high", "change", "relative", "llm_parameters"]
CHANGES_CAPTION = (
    "Changes are paired differences to regular supervision of the same LLM. Relative changes are shares of "
    "its F1, as means over seeds. There are none if that F1 is below 0.05. " + tables.INTERVALS
)


def changes(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per foundation and supervision that was scored: F1 with its interval, and the change.

    `change` is the paired difference to regular supervision of the same foundation, a Comparison. `relative`
    is that difference divided by the F1 of regular supervision. They are None without regular supervision;
    `relative` is also None if that F1 is close to 0.
    """
    taught = _taught(rows)
    parameters = {r["variant"]: r["record"]["llm_parameters"] for r in rows if r["record"]}
    frame = measured.main_metrics(rows, taught, CHANGES[:3])
    pairs = list(zip(frame["foundation"], frame["supervision"], strict=True))
    over = [taught.get((foundation, USUAL)) if how != USUAL else None for foundation, how in pairs]
    for name, of in (("change", measured.gain), ("relative", measured.relative_gain)):
        found = [base and of(rows, taught[pair], base) for pair, base in zip(pairs, over, strict=True)]
        frame[name] = pd.Series(found, dtype=object)
    return frame.assign(llm_parameters=[parameters[taught[pair]] for pair in pairs])


def _taught(rows: Sequence[Result]) -> dict[tuple[str, str], str]:
    """Return (foundation, supervision) -> variant."""
    at = {row["variant"]: row["axes"] for row in rows if row["axes"].keys() == {"llm", "supervision"}}
    return {(axes["llm"], axes["supervision"]): variant for variant, axes in at.items()}


def changes_table(study: Study, rows: Sequence[Result]) -> pd.DataFrame:
    """Return `changes` for display, with a dash where there is nothing to compare with."""
    supervisions = looks.of_axis(study, "supervision")
    found = changes(rows)
    columns = {
        "Foundation": [foundation.replace("_", " ") for foundation in found["foundation"]],
        "Supervision": [supervisions[key].label for key in found["supervision"]],
        "F1": [stats.with_interval(*ends) for ends in found[["f1", "low", "high"]].itertuples(index=False)],
        "Change": [stats.shown(change, "+") for change in found["change"]],
        "Relative": [stats.shown(change, "+") for change in found["relative"]],
    }
    frame = pd.DataFrame(columns)
    frame.attrs["keys"] = looks.keys(supervisions)
    return frame


def types_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals, one group of bars per foundation, one bar per supervision."""
    frame, own = changes(rows), looks.of_axis(study, "supervision")
    by = {"foundation": list(frame["foundation"].unique()), "supervision": list(own)}
    return effects.bars(rows, frame, by, own, list(_taught(rows)))


def scale_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 with intervals over the LLM's parameters, one line per supervision."""
    frame = changes(rows)
    if frame.empty:
        return None
    figure, (ax,) = figures.panels(1, "column")
    own, step = looks.of_axis(study, "supervision"), sizes.step_aside(frame["llm_parameters"])
    for i, (supervision, style) in enumerate(own.items()):
        drawn = frame[frame["supervision"] == supervision].sort_values("llm_parameters")
        places = drawn["llm_parameters"] * step ** (i - (len(own) - 1) / 2)
        figures.with_intervals(ax, places, drawn, **style.line, elinewidth=1)
    floors.draw(ax, rows)
    sizes.parameters_axis(ax)
    ax.set_xlabel("parameters of the LLM\n(points of one LLM stand side by side)")
    ax.set_ylabel("F1 (partial match)")
    ax.set_ylim(0, None)
    figures.legend(figure)
    return figure


_SHOWN = ("f1", "tokens", "trace_tokens", "obedience", "trace_wer", "faithfulness", "grounding", "malformed")
COLUMNS = {name: METRICS[name].heading for name in _SHOWN}
BESIDE = 0.03  # share of the axis of tokens: points that are closer stand side by side
LEAST = 0.05  # a share is shown only if this share of answers counts for it
CAPTION = (
    "Tokens are generated tokens. The length, the transcript and the reasons of a trace are measured on the "
    "answers that have a trace. Other shares are of all answers. An answer is in the mode asked for if it "
    "has a trace when the question asks for one, and no trace otherwise. Values in transcript: all values "
    "of the answer occur in the transcript of its trace, which may be wrong. Values in reasons: each value "
    "occurs in the reason for its slot. Both are shares of the answers with a value. A dash means that less "
    "than a twentieth of the answers have one. An answer is malformed if anything is wrong in its form, "
    "even if it can be read. Seconds depend on how busy the machine was, and tokens do not. "
    + tables.INTERVALS
)


def costs(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per scored variant: an Interval for each of `COLUMNS`, number of traces, seconds.

    An Interval is None where nothing was counted (no trace to measure, or a task without one) or hardly
    anything. Seconds of decoding are the mean over seeds.
    """
    lines = []
    for variant, mine in scored_variants(rows).items():
        scores = [row["score"] for row in mine]
        traced = sum(int(s["totals"].get("thought", (0, 0))[1]) for s in scores)
        line = {"variant": variant, "traces": traced, "answers": sum(s["n"] for s in scores)}
        line |= {name: _interval(scores, name) for name in COLUMNS}
        lines.append(line | {"seconds": fmean(row["record"]["seconds"]["decode"] for row in mine)})
    return pd.DataFrame(lines, columns=["variant", *COLUMNS, "traces", "answers", "seconds"])


def table(rows: Sequence[Result]) -> pd.DataFrame:
    """Return `costs` for display, with a dash where nothing was counted. Empty without a task with traces."""
    if not any(row["score"] and "malformed_kinds" in row["score"] for row in rows):
        return pd.DataFrame()
    frame = costs(rows)
    shown = {name: [_cell(value, name) for value in frame[name]] for name in COLUMNS}
    shown["Traces"] = [f"{row.traces:,} of {row.answers:,}" for row in frame.itertuples()]
    shown["Seconds of decoding"] = [f"{seconds:.0f}" for seconds in frame["seconds"]]
    table = pd.DataFrame({"Variant": frame["variant"], **shown}).rename(columns=COLUMNS)
    table.attrs["keys"] = {heading: name for name, heading in COLUMNS.items()}  # ids have the metric's name
    return table


def malformed(rows: Sequence[Result]) -> pd.DataFrame:
    """Return the number of malformed answers by kind that occurred, summed over a variant's seeds."""
    frame = kinds(rows, "malformed_kinds", trace.MALFORMED)
    return frame.loc[:, frame.sum() > 0]


def side_by_side(rows: Sequence[Result], utterance_id: str) -> pd.DataFrame:
    """Return the answer of each variant's first seed to one turn, with the gold answer."""
    lines = []
    version = _version(rows)
    for variant, said in _first_predictions(rows).items():
        if utterance_id in said:
            one = said[utterance_id]
            line = {"variant": variant, "is to say": one.gold, "says": one.raw}
            lines.append(line | {"F1": _f1(one, version)})
    return pd.DataFrame(lines, columns=["variant", "is to say", "says", "F1"]).round(3)


def telling_turn(rows: Sequence[Result]) -> str:
    """Return the id of the turn whose F1 differs most between variants that heard it; ties: the smallest."""
    heard = [row for row in rows if row["score"] and row["run"].config.evaluation.audio == "own"]
    if not heard:
        raise UserError("no run of this study has a score yet; run it first")
    every, version = _first_predictions(heard).values(), _version(heard)
    spread: dict[str, list[float]] = {}
    for said in every:
        for id, one in said.items():
            spread.setdefault(id, []).append(_f1(one, version))
    return max(sorted(spread), key=lambda id: max(spread[id]) - min(spread[id]))


def helped(rows: Sequence[Result], plain: str, thinking: str) -> pd.DataFrame:
    """Return the turns with gold slots whose F1 differs between the first seeds of two variants.

    They have the gain of `thinking` over `plain`, largest first, and both answers. Turns with equal gain are
    in a fixed pseudo-random order. Empty where a variant has no score.
    """
    said = _first_predictions([row for row in rows if row["variant"] in (plain, thinking)])
    before, after, version = said.get(plain, {}), said.get(thinking, {}), _version(rows)
    order = sorted(before.keys() & after.keys(), key=lambda id: sha256(id.encode()).digest())
    pairs = [(before[id], after[id]) for id in order if TASKS[before[id].task].parse(before[id].gold)]
    lines = [(_f1(b, version) - _f1(a, version), a.transcript, a.raw, b.raw) for a, b in pairs]
    frame = pd.DataFrame(lines, columns=["gain", "transcript", "without", "with"])
    return frame[frame["gain"] != 0].sort_values("gain", ascending=False, kind="stable")


def gained_and_lost(rows: Sequence[Result], plain: str, thinking: str) -> str:
    """Return how many turns gain and lose by thinking. Of variants without answers, return the status."""
    of_first_seed = _first_predictions([row for row in rows if row["variant"] in (plain, thinking)])
    statuses = {row["variant"]: row["status"] for row in reversed(rows)}
    if lacking := [name for name in (thinking, plain) if name not in of_first_seed]:
        stand = (f"`{name}`: {statuses.get(name, Status.MISSING.shown)}" for name in lacking)
        return f"No turns to compare. {'; '.join(stand)}."
    gains = helped(rows, plain, thinking)["gain"]
    told = f"of the first seed, {(gains > 0).sum()} turns gain, and {(gains < 0).sum()} lose."
    return f"**{thinking}** against **{plain}**: {told}"


def ends(frame: pd.DataFrame, n: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the n turns of `helped` with the largest gain, and the n with the largest loss."""
    gained, lost = frame[frame["gain"] > 0], frame[frame["gain"] < 0]
    return gained.head(n), lost.tail(n).iloc[::-1]


def cost_figure(study: Study, rows: Sequence[Result]) -> Figure | None:
    """Draw F1 over tokens generated per answer, with lines at the floors."""
    frame = costs([row for row in rows if row["variant"] not in floors.floor_names(rows)])
    frame = frame[frame["tokens"].map(lambda tokens: tokens is not None)]
    if frame.empty:
        return None
    figure, (ax,) = figures.panels(1, "column")
    own = looks.of(study)
    reach = BESIDE * max(found.value for found in frame["tokens"])
    drawn: list[float] = []
    label = "tokens generated for an answer"
    for row in frame.to_dict("records"):
        f1, tokens = row["f1"], row["tokens"].value
        while any(abs(tokens - other) < reach for other in drawn):
            tokens += reach / 4
            label = "tokens generated for an answer\n(points of about as many stand side by side)"
        drawn.append(tokens)
        figures.point(ax, tokens, (f1.value, f1.low, f1.high), own[row["variant"]])
    floors.draw(ax, rows)
    ax.set_xlim(0, None)
    ax.set_ylim(0, None)
    ax.set_xlabel(label)
    ax.set_ylabel("F1 (partial match)")
    figures.legend(figure)
    return figure


def _interval(scores: list[dict], metric: str) -> Interval | None:
    counts = METRICS[metric].counts
    totals = [s["totals"].get(counts) for s in scores]
    if None in totals:
        return None
    least = LEAST * sum(s["n"] for s in scores)
    if metric in ("faithfulness", "grounding") and sum(t[1] for t in totals) < least:
        return None
    counted = [s for s, t in zip(scores, totals, strict=True) if len(t) > 2 or t[1]]  # (part, whole)
    return score.interval(counted, metric) if counted else None


def _first_predictions(rows: Sequence[Result]) -> dict[str, dict[str, Prediction]]:
    """Return variant -> utterance id -> prediction, from each scored variant's first seed."""
    firsts = {variant: predictions(mine[0]["run"]) for variant, mine in scored_variants(rows).items()}
    return {variant: {p.utterance_id: p for p in said} for variant, said in firsts.items()}


def _version(rows: Sequence[Result]) -> int:
    """Return the version of partial match that the rows' scores show."""
    return next((versions.shown_in(row["score"]) for row in rows if row["score"]), 1)


def _f1(prediction: Prediction, version: int) -> float:
    """Return the F1 of one answer by a version of partial match. 1 where gold and answer are both empty."""
    parse = TASKS[prediction.task].parse
    gold, said = parse(prediction.gold), parse(prediction.raw)
    counts = versions.counts(gold, said, version)
    if said is not None and counts.predicted == counts.gold == 0:
        return 1.0
    return float(metrics.f1(counts))


def _cell(value: Interval | None, name: str) -> str:
    return f"{value.value:.1f}" if value and METRICS[name].unit == TOKENS else stats.shown(value)
