"""A study's table: one row per variant, with intervals and the paired difference to the baseline.

It is written as CSV (all numbers) and Markdown (rounded); `latex` writes the LaTeX. The same
records give the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from speechllm_bench import stats
from speechllm_bench.errors import UserError
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import floors
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.stats import ALPHA, LEAST_DIFFERENCE, ONE_SEED, with_interval
from speechllm_bench.storage.runs import write_text
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import METRICS, TASKS, Metric
from speechllm_bench.tasks.metric import PER_CENT

FLOORS = ("floor", "above_floors")
"""Columns for what a row is the floor of, and whether a row is above its floors, in tables with floors."""
AFTER_READING = "trained_after_reading"
"""Column for parameters trained in the stages after one that reads, in tables that have any."""
EXCLUDED = "excluded"
"""Column for the number of unreadable recordings that a row's corpus lacks, in tables that have any."""
_BEFORE = [metric for metric in METRICS.values() if metric.column in ("with interval", "plain")]
_BEHIND = sorted((m for m in METRICS.values() if m.column == "later"), key=lambda metric: metric.always)
HEADINGS = {
    "variant": "Variant",
    "status": "Status",
    "trained_parameters": "Trained parameters",
    "trained_after_reading": "Trained after reading",
    "llm_share": "Share of LLM",
    "total_parameters": "All parameters",
    "speech_hours": "Hours of speech",
    "text_tokens": "Text tokens",
    "pretraining_speech_hours": "Hours of speech before",
    "pretraining_text_tokens": "Text tokens before",
    **{metric.name: metric.heading for metric in _BEFORE},
    "difference": "F1 difference to baseline",
    "difference_p": "p (Holm)",
    **{metric.name: metric.heading for metric in _BEHIND},
    "seconds": "Seconds",
    "reported": "Reported F1",
}
"""Headings of the columns, in the order in which tables show them."""
_OTHER_TASKS = {"difference": "Difference to baseline", "reported": "Reported"}
WHOLE = (
    *("n", "speakers", "seeds", "trained_parameters", AFTER_READING, "total_parameters", "text_tokens"),
    *("pretraining_text_tokens", "partial_match_version", "difference_seeds", EXCLUDED),
)
UNEQUAL = ("total_parameters", "speech_hours", "text_tokens")  # each shown if its values differ
TESTED = ("difference_p", "difference_se", "difference_seeds")
"""Columns of a difference: p after Holm, standard error over speakers, number of shared seeds."""
BEFORE = ("pretraining_speech_hours", "pretraining_text_tokens")  # pre-training of audio LLMs, if any
WITH_INTERVAL = (*(m.name for m in _BEFORE if m.column == "with interval"), "difference")
DECIMALS = {"seconds": 0, "speech_hours": 1, "pretraining_speech_hours": 1}  # three for other columns
SHOWN_PER_CENT = ("llm_share", *(metric.name for metric in METRICS.values() if metric.unit == PER_CENT))


def of_task(task: str) -> list[Metric]:
    """Return the metrics of a task that tables show."""
    return [metric for metric in TASKS[task].metrics if metric.column]


def named(tasks: Sequence[str]) -> list[str]:
    """Return the columns, in order, of a table whose variants have these tasks."""
    metrics = list(dict.fromkeys(metric.name for task in tasks for metric in of_task(task)))
    columns = ["variant", "status", "n", "speakers", "seeds", "trained_parameters"]
    columns += [AFTER_READING, "llm_share"]
    columns += [*UNEQUAL, *BEFORE]
    for name in (*(n for n in metrics if n in WITH_INTERVAL), "difference"):
        columns += [name, f"{name}_low", f"{name}_high"]
    columns += [*TESTED, "differs"]
    for name in (n for n in metrics if n not in WITH_INTERVAL):
        columns += [name, f"{name}_low", f"{name}_high"]
    columns += ["seconds", "reported", *(["partial_match_version"] if "f1" in metrics else [])]
    return [*columns, *FLOORS, EXCLUDED]


def refuse_unknown(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the chosen columns, each once. UserError, which names the columns, for an unknown one.

    The column of the variant is always shown and cannot be chosen.
    """
    there = [name for name in HEADINGS if name in frame and name != "variant"]
    for name in names:
        if name not in there:
            raise UserError(f"the table has no column '{name}'; its columns are: {', '.join(there)}")
    return list(dict.fromkeys(names))


def headings(frame: pd.DataFrame | Collection[str]) -> dict[str, str]:
    """Return the headings of the columns. With slots the main metric is F1, and the headings name it.

    frame: a table, or the names of its columns.
    """
    return HEADINGS if "f1" in frame else HEADINGS | _OTHER_TASKS


def how(frame: pd.DataFrame) -> list[str]:
    """Return sentences on how the table's metrics are computed: one per task, then those of single
    metrics.
    """
    versions = frame["partial_match_version"].dropna().unique() if "f1" in frame else []
    slots = [f"P, R and F1 use partial match, version {v}, which is this suite's own." for v in versions]
    shown = [task.how for task in TASKS.values() if task.main.name in frame]
    return slots + list(filter(None, [*shown, *(m.how for m in METRICS.values() if m.name in frame)]))


SMOKE_MARK = "SMOKE PROFILE: these numbers say little."


def smoke_mark(profile: str) -> str | None:
    """Return the mark for results of profile smoke, with or without settings of --set.
    None for other profiles.
    """
    return SMOKE_MARK if base_profile(profile) == "smoke" else None


NOT_RUN = Status.MISSING.shown


def caption(
    frame: pd.DataFrame, title: str, baseline: str, profile: str, called: Mapping[str, str] | None = None
) -> str:
    """Return the caption: what the table shows, and its questions, speakers and seeds (protocol, rule 13).

    It speaks of what is in the table alone. called: what floors are called, as `floors.called` has it.
    """
    reported = f"{headings(frame)['reported']} is the paper's, at the paper's scale and on its own data."
    of_paper = [reported] if frame["reported"].notna().any() else []
    if frame["n"].isna().all():
        return " ".join([f"{title}, profile {profile}: nothing has been scored.", *of_paper])
    parts = [
        *filter(None, [smoke_mark(profile)]),
        heading(frame, title, profile),
        *how(frame),
        BRACKETS,
        *one_seed(frame),
        *_of_differences(frame, baseline),
        floors.sentence(frame, called),
        *of_paper,
    ]
    return " ".join(filter(None, parts))


def _of_differences(frame: pd.DataFrame, baseline: str) -> list[str]:
    """Return the sentences on differences to the baseline, where a table has any."""
    said = []
    if frame["difference"].notna().any():
        said.append(f"A difference is the row less {baseline}, on the same turns and seeds.")
    if frame["difference_p"].notna().any():
        said.append("p is two-sided, after Holm's correction over the table's differences.")
    if frame["differs"].eq(True).any():
        said.append(f"An asterisk marks differences of at least {LEAST_DIFFERENCE} with p below {ALPHA}.")
    return said


def heading(frame: pd.DataFrame, title: str, profile: str, power: bool = True) -> str:
    """Return the title and sample sizes of a study's table, and of its additional tables.

    power: add the smallest difference to the baseline that can be shown.
    """
    parts = [f"{title}, profile {profile}."]
    if frame["n"].notna().any():
        parts.append(size(*(frame[column].dropna() for column in ("n", "speakers", "seeds"))))
        parts += left_out(frame[EXCLUDED].dropna()) if EXCLUDED in frame else []
        parts += smallest_shown(frame["difference_se"].dropna()) if power else []
    return " ".join(parts)


def write(
    frame: pd.DataFrame, folder: Path, study: str, caption: str, below: Sequence[str] = ()
) -> list[Path]:
    """Write <study>.csv and .md into `folder`, and return their paths. `latex` writes the .tex.

    below: a list under the table in Markdown.
    """
    texts = {
        "csv": frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        "md": _markdown(caption, display(frame), below),
    }
    for ending, text in texts.items():
        write_text(folder / f"{study}.{ending}", text)
    return [folder / f"{study}.{ending}" for ending in texts]


def write_markdown(frame: pd.DataFrame, file: Path, chosen: Sequence[str]) -> Path:
    """Rewrite an existing Markdown table with these columns and its old caption. Return its path."""
    caption, _, *below = file.read_text("utf-8").rstrip("\n").split("\n\n")
    items = [line.removeprefix("- ") for line in "".join(below).splitlines()]
    write_text(file, _markdown(caption, display(frame, chosen), items))
    return file


def _markdown(caption: str, shown: pd.DataFrame, below: Sequence[str] = ()) -> str:
    listed = "".join(f"- {item}\n" for item in below)
    table = shown.to_markdown(index=False, disable_numparse=True)
    text = "\n".join([f"{caption}\n\n{table}\n", *([listed] if below else [])])
    return text.replace("<", "&lt;")


def display(frame: pd.DataFrame, chosen: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the table for display: rounded text, `0.412 [0.39, 0.43]`, a dash where there is no value.

    chosen: its columns. None: all columns but those of `UNEQUAL` whose values do not differ.
    """
    left_out = [column for column in UNEQUAL if frame[column].nunique() < 2]
    shown = [column for column in HEADINGS if column in frame and column not in left_out]
    shown = ["variant", *refuse_unknown(frame, chosen)] if chosen else shown
    rows = frame.to_dict("records")
    cells = {column: [_cell(row, column) for row in rows] for column in shown}
    return pd.DataFrame(cells).rename(columns=headings(frame))


def plain(column: str, value: Any) -> str:
    """Format one value of a column, without an interval."""
    if column == "difference_p":
        return stats.p_shown(value)
    if column in SHOWN_PER_CENT:
        return f"{100 * value:.1f} %"
    return f"{value:,}" if column in WHOLE else f"{value:.{DECIMALS.get(column, 3)}f}"


def _cell(row: dict, column: str) -> str:
    value = row[column]
    if pd.isna(value):
        return "–"
    if column in ("variant", "status"):
        return value
    if column not in WITH_INTERVAL:
        return plain(column, value)
    of_difference = column == "difference"
    sign = "+" if of_difference else ""
    star = "*" if of_difference and row["differs"] else ""
    trained = pd.notna(row["trained_parameters"]) and row["trained_parameters"] > 0
    alone = trained and row["difference_seeds" if of_difference else "seeds"] == 1
    star += ONE_SEED if alone else ""
    star += floors.BELOW if column == "f1" and row.get("above_floors") is False else ""
    return with_interval(value, row[f"{column}_low"], row[f"{column}_high"], sign, star)


BRACKETS = "In brackets: 95 % interval by bootstrap over speakers, with the variance between seeds."
ONE_SEED_NOTE = "the variance between seeds is estimated from the records of mini."
INTERVALS = f"{BRACKETS} Where there is one seed, {ONE_SEED_NOTE}"
"""The sentences on intervals, of tables that do not mark the rows of one seed."""


def one_seed(frame: pd.DataFrame) -> list[str]:
    """Return the sentence on rows of one seed, if the table has a trained one."""
    if not (_trained(frame) & (frame["seeds"].eq(1) | frame["difference_seeds"].eq(1))).any():
        return []
    return [f"{ONE_SEED} marks rows of one seed: {ONE_SEED_NOTE}"]


def smallest_shown(errors: Iterable[float]) -> list[str]:
    """Return the sentence on power, from the standard errors of paired differences. None without any."""
    if not (found := sorted(error for error in errors if error > 0)):
        return []
    shown = [f"{stats.smallest_shown(error):.3f}" for error in (found[0], found[-1])]
    between = shown[0] if len(set(shown)) == 1 else " to ".join(shown)
    return [f"The smallest difference that the test set can show (power 0.8, alpha {ALPHA}) is {between}."]


def size(n: Iterable[int], speakers: Iterable[int], seeds: Iterable[int]) -> str:
    """Return the sentence on sample sizes. Each argument has one entry per variant."""
    return "n = {} utterances of {} speakers; {} per variant.".format(*sample_sizes(n, speakers, seeds))


def sample_sizes(n: Iterable[int], speakers: Iterable[int], seeds: Iterable[int]) -> tuple[str, str, str]:
    """Return sample sizes as text, such as `500`, `20 to 40` and `3 seeds`. Arguments: as for `size`."""
    of_seeds = _range(seeds)
    return _range(n), _range(speakers), "1 seed" if of_seeds == "1" else f"{of_seeds} seeds"


def left_out(excluded: Iterable[int]) -> list[str]:
    """Return the sentence on unreadable recordings, from one number per variant. Empty without any."""
    if not (found := list(excluded)):
        return []
    return [f"The corpus lacks {_range(found)} recordings that cannot be read."]


def not_testable(rows: Sequence[Result]) -> list[str]:
    """Return a sentence for each reason why variants are not testable on the corpus.
    rows: from `studies.records`.
    """
    variants: dict[str, list[str]] = {}
    for row in rows:
        if row.get("why") and row["variant"] not in variants.setdefault(row["why"], []):
            variants[row["why"]].append(row["variant"])
    return [f"{', '.join(names)}: {why}." for why, names in variants.items()]


def _trained(frame: pd.DataFrame) -> pd.Series:
    """Return whether each row's model was trained. Only trained models vary between seeds."""
    return frame["trained_parameters"].fillna(0) > 0


def _range(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
