"""The summary of a profile, `results/<profile>/README.md`: verdicts, scores and a figure of each study.

It is made from stored records alone. The same records give the same bytes, so it has no dates
and no paths of a machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from speechllm_bench import stats
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import intervals, versions
from speechllm_bench.planning import studies
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports import claims, measured, stamps, tables, unmixed
from speechllm_bench.reports.claims import Verdict
from speechllm_bench.settings import catalogue
from speechllm_bench.settings.experiments import Study
from speechllm_bench.settings.extras import EXTRAS
from speechllm_bench.settings.profiles import Profile
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.schema import Interval
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import TASKS

FOLDERS = {"figure": "figures/{}_%s.png", "table": "tables/{}_%s.md"}
FILES = {
    "table": "tables/{}.md",
    "claims": "tables/{}_claims.md",
    "learning curves": "figures/{}_curves.png",
    "F1 against parameters": "figures/{}_parameters.png",
    **{extra.link: FOLDERS[extra.kind] % name for name, extra in EXTRAS.items()},
    "executed notebook": "notebooks/{}.ipynb",
}
FIGURES = (
    *("systems", "types", "scale", "settings", "families", "levels", "noise", "cost"),
    *("parameters", "curves"),
)
"""Endings of figures. The first one that exists is shown."""
READING = (
    "The text on a study begins with the verdicts on its claims. Its page of claims has their differences "
    "and p. F1 is that of slots, by partial match, version {version}, with its 95 % interval in brackets. "
    "Other tasks show their main metric, by name. Best and worst are chosen among the variants with the same "
    "evaluation as the baseline. Floors hear nothing and learn nothing. The papers made their claims at "
    "their own scale and on their own data. The [glossary](../../docs/glossary.md) explains the terms, the "
    "[protocol](../../docs/protocol.md) the rules (12 to 14), and [known limits](../../docs/limits.md) say "
    "what to know before citing a number."
)


def write(profile: str) -> Path:
    """Write the summary of every study in experiments/, over the profile's seeds. Return its path.

    Raises UserError, with the study's name, where records cannot be read or cannot share a table.
    """
    folder = paths.results(profile)
    file = folder / "README.md"
    stamp = stamps.Stamp(profile, "summary")
    if stamp.current:
        return file
    found = {name: of_study(name, profile) for name in catalogue.study_files()}
    rests_on = stamps.of(folder / part for part in ("tables", "figures", "notebooks"))
    for kept in found.values():
        rests_on |= kept.read
    holds = {name: kept.holds for name, kept in found.items()}
    blocks = _head(studies.profile_named(profile), list(holds.values()))
    for name, told in holds.items():
        if told["begun"]:
            line = " ".join([told["line"], *_links(name, folder)])
            blocks += [f"## {told['title']}", "\n".join([line, *_figure(name, folder)])]
    if waiting := [told["waiting"] for told in holds.values() if not told["begun"]]:
        blocks += [f"## {tables.NOT_RUN}", "\n".join(waiting)]
    runs.write_text(file, "\n\n".join(blocks) + "\n")
    stamp.keep(rests_on, [file])
    return file


def of_study(name: str, profile: str, recorded: stamps.Recorded | None = None) -> stamps.Stamp:
    """Return the stamp that holds the summary of a study. It is made again if its records have changed.

    recorded: the study's records, if they have been read.
    """
    stamp = stamps.Stamp(profile, f"summaries/{name}")
    if not stamp.current:
        with intervals.kept(stamps.intervals_file(profile, name), others=True):
            read, holds = _found(name, profile, recorded)
        stamp.keep(read, holds=holds)
    return stamp


def _found(name: str, profile: str, recorded: stamps.Recorded | None) -> tuple[stamps.States, dict]:
    """Return the state of a study's records, and its summary as plain JSON."""
    study, _ = studies.load(name, profile)
    try:
        rows, read = recorded or stamps.stored_records(name, profile)
        unmixed.refuse_mixtures(rows)
        # The whole table takes one bootstrap per metric. The main metric alone gives the same value.
        f1 = {variant: found for variant in study.variants if (found := measured.main_metric(rows, variant))}
        verdicts = claims.verdicts(study, rows)
    except UserError as error:
        raise UserError(f"study '{name}': {error}") from None
    lacking = [row for row in rows if row["status"] != Status.OK]
    asked = {name: study.variant(name).evaluation.answerer for name in study.variants}
    trained = [row for row in rows if asked[row["variant"]] == "model"]
    judged = Counter(sorted(verdicts["verdict"], key=get_args(Verdict).index))
    told = ", ".join(f"{verdict.replace(': ', ', ')}: {n}" for verdict, n in judged.items())
    verdict = [f"**Claims: {told}.**"] if told else []
    against = int(verdicts["reversed_by"].fillna("").ne("").sum())
    verdict += [f"Other scores reverse {against} of their differences."] if against else []
    parts = [*_scores(study, f1), f"{len(rows) - len(lacking)} of {len(rows)} runs ok", *_named(lacking)]
    without_meaning = sum(row["status"] == studies.NOT_TESTABLE for row in rows)
    of_them = f", {without_meaning} of them {studies.NOT_TESTABLE}" if without_meaning else ""
    unrun = f"{len(lacking)} of {len(rows)} runs" if len(lacking) < len(rows) else f"{len(rows)} runs"
    paper = "none" if study.paper == "none" else f"[{study.paper}](https://arxiv.org/abs/{study.paper})"
    holds = {
        "title": f"{name}: {study.title}",
        "sizes": [[found.n, found.n_speakers, found.n_seeds] for found in f1.values()],
        "line": " ".join([*verdict, *(f"{part}." for part in parts)]),
        "begun": any(row["status"] not in (tables.NOT_RUN, studies.NOT_TESTABLE) for row in trained),
        "waiting": f"- {name}: {study.title}, {unrun}{of_them} (paper: {paper})",
    }
    return read, holds


def _head(profile: Profile, found: Sequence[dict]) -> list[str]:
    mark = [f"**{mark}**"] if (mark := tables.smoke_mark(profile.profile)) else []
    sizes = [size for one in found for size in one["sizes"]]
    size = tables.size(*zip(*sizes)) if sizes else "Nothing has been scored."
    version = versions.shown_version(profile.profile)
    reading = READING.format(version=version)
    return [f"# Profile {profile.profile}: {profile.note}", *mark, size, reading]


def _links(name: str, folder: Path) -> list[str]:
    """Return links to those of a study's files that exist, as one part of its line."""
    files = {what: file.format(name) for what, file in FILES.items()}
    links = [f"[{what}]({file})" for what, file in files.items() if (folder / file).is_file()]
    return [", ".join(links)] if links else []


def _figure(name: str, folder: Path) -> list[str]:
    """Return the first existing figure of `FIGURES` for a study, as a list of one or none."""
    files = [f"figures/{name}_{ending}.png" for ending in FIGURES]
    there = [file for file in files if (folder / file).is_file()]
    return [f'<img src="{file}" width="520" alt="{name}">' for file in there[:1]]


def _named(rows: Sequence[Result]) -> list[str]:
    """Return variants and seeds of runs that failed, and the numbers of runs that were not made."""
    not_made: Counter[str] = Counter()
    failed: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["status"] in (tables.NOT_RUN, studies.NOT_TESTABLE):
            not_made[row["status"]] += 1
        else:
            failed.setdefault((row["status"], row["variant"]), []).append(str(row["seed"]))
    named = [f"{status}: {name} (seeds: {', '.join(seeds)})" for (status, name), seeds in failed.items()]
    return [*named, *(f"{n} {status}" for status, n in not_made.items())]


def _scores(study: Study, f1: Mapping[str, Interval]) -> list[str]:
    """Return best, worst and baseline, then the floors on the baseline's questions."""
    usual = study.variant(study.baseline).evaluation
    asked = {name: study.variant(name).evaluation for name in f1}
    alike = [name for name in f1 if asked[name] == usual]
    answered = [name for name in f1 if asked[name].answerer != "model"]
    floors = [name for name in answered if asked[name].model_copy(update={"answerer": "model"}) == usual]
    sign = -1 if TASKS[usual.task].main.lower_is_better else 1
    ranked = sorted(alike, key=lambda name: (-sign * f1[name].value, name))
    ranked = [] if ranked == [study.baseline] else ranked  # a baseline alone is neither best nor worst
    first = "best" if len(ranked) > 1 else "only score"
    roles = [(first, name) for name in ranked[:1]] + [("worst", name) for name in ranked[1:][-1:]]
    roles += [("baseline", study.baseline), *(("floor", name) for name in floors)]
    shown = {
        name: f"{TASKS[asked[name].task].main.heading} {stats.shown(found)}" for name, found in f1.items()
    }
    return [f"{role.capitalize()}: {name}, {shown.get(name, 'no number')}" for role, name in roles]
