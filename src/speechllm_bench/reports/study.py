"""One study's report from its stored records: tables, claims and figures, without torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from speechllm_bench import numbers, paths, runs, stats, studies
from speechllm_bench.evaluation import intervals, versions
from speechllm_bench.experiments import Study
from speechllm_bench.overrides import base_profile
from speechllm_bench.reports import (
    captions,
    cells,
    claims,
    extras,
    figures,
    floors,
    looks,
    page,
    stamps,
    tables,
)
from speechllm_bench.reports.captions import ONE_SEED_NOTE
from speechllm_bench.reports.curves import read_curve, trained_again, trainings
from speechllm_bench.schema import CURVE_COLUMNS
from speechllm_bench.stats import ONE_SEED, with_interval
from speechllm_bench.tasks import MAIN_METRICS, TASKS

MOST_LINES = 12  # of learning curves, or points with a look of their own, that can be read
CLAIMS_CAPTION = (
    "Differences are paired, with 95 % intervals. p is two-sided, after Holm's correction over the claims of "
    "the study that can be tested. What each verdict means: docs/glossary.md."
)
CLAIM_COLUMNS = [
    *("claim", "source", "compared", "difference", "low", "high", "p", "se", "seeds", "below", "diverged"),
    "verdict",
]


def write(name: str, profile: str, seeds: Sequence[int] | None = None, draw: bool = True) -> list[Path]:
    """Write a study's tables and, with `draw`, its figures into `results/<profile>`; returns the paths.

    Variants without a run stand in the table as NOT RUN; a figure without anything to draw is not made, and
    an older one of that name is removed. Where nothing has changed since they were written, they stay.
    UserError where records cannot be told apart on this machine.
    """
    stamp = stamps.Stamp(profile, f"tables/{name}", seeds or ())
    if draw and stamp.current and stamps.Stamp(profile, "numbers").current:
        return stamp.written
    rows = studies.records(name, profile, seeds)
    studies.refuse_untold(rows)
    read = stamps.of_rows(rows, profile)
    with intervals.kept(stamps.intervals_file(profile, name)):
        written = _write(name, profile, rows, draw)
    if draw:
        stamp.keep(read, written)
    return written


def _write(name: str, profile: str, rows: Sequence[studies.Result], draw: bool) -> list[Path]:
    study, _ = studies.load(name, profile)
    frame = table(study, rows)
    folder = paths.results(profile)
    caption = tables.caption(frame, study.title, " or ".join(study.baselines), profile)
    notes = [*trained_again(rows), *captions.not_testable(rows)]
    written = tables.write(frame, folder / "tables", name, " ".join([caption, *notes]))
    further, found = _further(study, rows), verdicts(study, rows)
    kept = cells.of_study(study, rows, frame, found, {end: shown for end, (shown, _) in further.items()})
    further["claims"] = show_verdicts(found), " ".join([CLAIMS_CAPTION, *claims_notes(found)])
    heading = tables.heading(frame, study.title, profile, power=False)
    written += [
        _write_text_table(shown, name, ending, profile, f"{heading} {caption}")
        for ending, (shown, caption) in further.items()
        if len(shown)
    ]
    own = [row for row in kept if row.table == name]
    written.append(page.write(study, frame, own, profile, folder / "tables"))
    stamps.update_numbers(profile, name, [name, *(f"{name}_{ending}" for ending in further)], kept)
    for ending, figure in figures_of(study, rows, frame).items() if draw else ():
        if figure is not None:
            written += figures.save(figure, folder / "figures", f"{name}_{ending}", profile)
            plt.close(figure)
    if draw:
        _remove_others(name, folder, written)
    return written


def numbered(name: str, profile: str, seeds: Sequence[int] | None = None) -> list[numbers.Row]:
    """What `write` puts into numbers.json of a study, made anew; nothing is written."""
    study, rows = studies.load(name, profile)[0], studies.records(name, profile, seeds)
    further = {ending: shown for ending, (shown, _) in _further(study, rows).items()}
    return cells.of_study(study, rows, table(study, rows), verdicts(study, rows), further)


def _further(study: Study, rows: Sequence[studies.Result]) -> dict[str, tuple[pd.DataFrame, str]]:
    """The tables beside a study's own by their ending, with their captions; some have no rows."""
    made = {ending: extras.TABLES[ending] for ending in study.tables}
    return {ending: (make(study, rows), caption) for ending, (make, caption) in made.items()}


def figures_of(study: Study, rows: Sequence[studies.Result], frame: pd.DataFrame) -> dict[str, Figure | None]:
    """A study's figures by their ending; None where there is nothing to draw. rows, frame: see `table`."""
    drawn = {"curves": curves_figure(study, rows), "parameters": parameters_figure(study, frame)}
    return drawn | {name: extras.FIGURES[name](study, rows, curves(rows)) for name in study.figures}


def _remove_others(name: str, folder: Path, written: list[Path]) -> None:
    """What earlier runs of the report left and this one has no use for: its numbers may be old."""
    drawn = ("parameters", "curves", *extras.FIGURES)
    files = [f"figures/{name}_{ending}.{kind}" for ending in drawn for kind in ("pdf", "png")]
    files += [f"tables/{name}_{ending}.md" for ending in (*extras.TABLES, "claims")]
    others = {f"tables/{study}.md" for study in studies.known_studies()}  # as the table of `sense_decoding`
    for file in {folder / file for file in {*files} - others} - set(written):
        file.unlink(missing_ok=True)


def table(study: Study, rows: Sequence[studies.Result]) -> pd.DataFrame:
    """`tables.study_table` of `studies.records`, beside the main metric where the paper reports it."""
    main = {name: TASKS[study.variant(name).evaluation.task].main.name for name in study.variants}
    reported = {entry.variant: entry.value for entry in study.reported if entry.metric == main[entry.variant]}
    return tables.study_table(rows, study.baseline, reported, study.tasks, study.other_baselines)


def verdicts(study: Study, rows: Sequence[studies.Result]) -> pd.DataFrame:
    """Each claim of the paper with its source, the paired difference that tests it, and the verdict.

    Where a variant diverged, that is what is judged and told in `diverged`, and there is no difference.
    """
    lines: list[dict] = []
    without_meaning = {row["variant"] for row in rows if row["status"] == studies.NOT_TESTABLE}
    for entry in study.claims:
        testable = entry.scale is None or all(base_profile(row["profile"]) == "paper" for row in rows)
        testable &= without_meaning.isdisjoint({entry.better, entry.worse, *(entry.beyond or ())})
        diverged = claims.diverged(rows, entry) if testable else {}
        difference = None if diverged else tables.gain(rows, entry.better, entry.worse, entry.beyond)
        lines.append(
            {
                "claim": entry.claim,
                "source": entry.source,
                "compared": entry.compared,
                "tested": difference,
                "testable": testable,
                "seeds_diverged": (diverged.get(entry.better, 0), diverged.get(entry.worse, 0)),
                "beyond": entry.beyond,
                "below": claims.below(rows, entry, difference) if difference else [],
                "diverged": ", ".join(f"{name} diverged on {n}" for name, n in diverged.items()),
            }
        )
    judged = [line for line in lines if line["tested"] and line["testable"]]
    corrected = stats.holm([line["tested"].p for line in judged])
    for line, p in zip(judged, corrected, strict=True):
        line["p"] = p
    return pd.DataFrame([line | _judged(line) for line in lines], columns=CLAIM_COLUMNS)


def _judged(line: dict) -> dict:
    """Numbers and verdict of a claim, whose p stands after Holm's correction over the study's claims."""
    found, diverged = line["tested"], any(line["seeds_diverged"]) or bool(line["diverged"])
    if diverged:
        on = claims.verdict_on_divergence
        verdict = "inconclusive" if line["beyond"] else on(*line["seeds_diverged"])
    else:
        verdict = claims.verdict(found, line.get("p", 1.0), line["testable"], not line["below"])
    numbers = {"difference": found.value, "low": found.low, "high": found.high} if found else {}
    tested = {"se": found.standard_error, "seeds": found.n_seeds} if found else {}
    return numbers | tested | {"below": ", ".join(line["below"]), "verdict": verdict}


def claims_notes(found: pd.DataFrame) -> list[str]:
    """Sentences on the claims' own comparisons: those of one seed, and what the test set can show."""
    alone = (
        [f"{ONE_SEED} marks differences of one seed: {ONE_SEED_NOTE}"] if found["seeds"].eq(1).any() else []
    )
    return [*alone, *captions.smallest_shown(found["se"].dropna())]


def curves(rows: Sequence[studies.Result]) -> pd.DataFrame:
    """The curve of every run, with `variant` and `seed`; a training that runs share comes once."""
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


def examples_to_reach(curve: pd.DataFrame, level: float) -> pd.DataFrame:
    """After how many examples, those of all stages, each run's validation F1 first reached `level`.

    One row a variant, one column a seed; NaN where it never did.
    """
    f1 = curve[(curve["metric"] == "f1") & (curve["split"] == "validation")]
    found = f1.groupby(["variant", "seed"], sort=False)[["examples", "value"]].apply(
        lambda points: points.loc[points["value"] >= level, "examples"].min()
    )
    return found.unstack("seed").reindex(f1["variant"].unique())


def last_f1(curve: pd.DataFrame, variant: str) -> float:
    """A variant's F1 on validation at the end of training, its mean over seeds; NaN without a curve."""
    chosen = curve[(curve["metric"] == "f1") & (curve["split"] == "validation")]
    chosen = chosen[chosen["variant"] == variant]
    return chosen.groupby("seed").last()["value"].mean()


def curves_figure(study: Study, rows: Sequence[studies.Result]) -> Figure | None:
    """Validation loss and the decoded tasks' metrics over examples seen; None without a curve.

    Where there are more lines than can be read it is those of the study's telling variants, and of more than
    six a panel there is a row for each six. A panel in which all variants share one training tells nothing
    and is left out. A training has the name of the first variant that it made, on whatever test set.
    """
    curve = curves(rows)
    if curve["variant"].nunique() > MOST_LINES:
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
        if metric == "f1":
            floors.draw_on_validation(ax, rows)
    for column in range(len(panels)):
        figures.same_limits(axes[column :: len(panels)])
    figures.legend(figure)
    return figure


def parameters_figure(study: Study, frame: pd.DataFrame) -> Figure | None:
    """Each task's main metric with intervals against trained parameters; None where nothing that learns was
    scored, where most train as many, and where there are more points than can be told apart.
    """
    if len(figures.that_learn(frame)) > MOST_LINES:
        return None
    scored = [m for m in MAIN_METRICS if m in frame and figures.sizes_tell(frame, m)]
    if not scored:
        return None
    figure, axes = figures.panels(len(scored), "column" if len(scored) == 1 else "page")
    answerers = {name: study.variant(name).evaluation.answerer for name in study.variants}
    for metric, ax in zip(scored, axes, strict=True):
        figures.metric_against_parameters(frame, ax, looks.of(study), metric)
        if metric == "f1":
            floors.draw_of_table(ax, frame, answerers)
    figures.legend(figure)
    return figure


def show_verdicts(found: pd.DataFrame) -> pd.DataFrame:
    """The verdicts as they are read: the difference with its interval in one column, or what diverged."""
    shown, p_values = [], []
    for row in found.itertuples():
        mark = ONE_SEED if row.seeds == 1 else ""
        number = pd.notna(row.difference) and with_interval(row.difference, row.low, row.high, "+", mark)
        shown.append(number or row.diverged or "–")
        p_values.append(stats.p_shown(row.p) if pd.notna(row.p) else "–")
    columns = found[["claim", "source", "compared"]]
    return columns.assign(difference=shown, **{"p (Holm)": p_values}, verdict=found["verdict"])


def write_further(shown: pd.DataFrame, name: str, ending: str, profile: str, caption: str) -> Path:
    """A table of text beside the study's own, as Markdown, and its numbers; returns its path."""
    study, rows = studies.load(name, profile)[0], studies.records(name, profile)
    stamps.update_numbers(profile, name, [f"{name}_{ending}"], cells.of_further(study, rows, ending, shown))
    return _write_text_table(shown, name, ending, profile, caption)


def _write_text_table(shown: pd.DataFrame, name: str, ending: str, profile: str, caption: str) -> Path:
    """As Markdown, marked where it is of smoke."""
    file = paths.results(profile) / "tables" / f"{name}_{ending}.md"
    table = shown.to_markdown(index=False, disable_numparse=True)
    mark = f"{mark} " if (mark := tables.smoke_mark(profile)) else ""
    runs.write_text(file, f"{mark}{caption}\n\n{table}\n")
    return file
