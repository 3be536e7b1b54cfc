"""What a profile has found, study by study, as `results/<profile>/README.md`; from stored records alone.

The same records give the same bytes, so it names no dates and no places on a machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import pandas as pd

from speechllm_bench import catalogue, paths, runs, studies
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import intervals, versions
from speechllm_bench.experiments import Study
from speechllm_bench.extras import EXTRAS
from speechllm_bench.profiles import Profile
from speechllm_bench.reports import claims, measured, stamps, tables
from speechllm_bench.reports.claims import Verdict
from speechllm_bench.reports.progress import trained_again
from speechllm_bench.schema import Interval
from speechllm_bench.stats import with_interval
from speechllm_bench.status import Status
from speechllm_bench.studies import Result
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
READING = (
    "F1 is of slots, by partial match{version}; brackets hold its 95 % interval. Other tasks show their main "
    "metric in its place, by name. A claim's difference is paired. Claims were made at the paper's scale, on "
    "its own data. Best and worst are of the variants that are evaluated as the baseline is. "
    "docs/glossary.md explains the words, and docs/protocol.md the rules (12 to 14)."
)


def write(profile: str) -> Path:
    """Write the summary of every study in experiments/, over the profile's seeds; returns its path.

    What it says of a study is kept, and found again where records have changed alone. Raises UserError, with
    the study's name, where records cannot be read or do not belong in one table.
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
        blocks += [*told["section"], *_links(name, folder)] if told["begun"] else []
    if waiting := [told["waiting"] for told in holds.values() if not told["begun"]]:
        blocks += [f"## {tables.NOT_RUN}", "\n".join(waiting)]
    runs.write_text(file, "\n\n".join(blocks) + "\n")
    stamp.keep(rests_on, [file])
    return file


def of_study(name: str, profile: str) -> stamps.Stamp:
    """What the summary says of a study, as the stamp of it holds it; found anew where its records changed."""
    stamp = stamps.Stamp(profile, f"summaries/{name}")
    if not stamp.current:
        with intervals.kept(stamps.intervals_file(profile, name), others=True):
            read, holds = _found(name, profile)
        stamp.keep(read, holds=holds)
    return stamp


def _found(name: str, profile: str) -> tuple[stamps.States, dict]:
    """State of a study's records, and what the summary says of them, as plain JSON."""
    study, _ = studies.load(name, profile)
    try:
        rows = studies.records(name, profile)
        studies.refuse_untold(rows)
        read = stamps.of_rows(rows, profile)
        measured.refuse_mixtures(rows)
        # Not the whole table, which takes a bootstrap a metric: that of F1 alone gives the same F1.
        f1 = {variant: found for variant in study.variants if (found := measured.main_metric(rows, variant))}
        verdicts = claims.verdicts(study, rows)
    except UserError as error:
        raise UserError(f"study '{name}': {error}") from None
    lacking = [row for row in rows if row["status"] != Status.OK]
    ok, title = f"{len(rows) - len(lacking)} of {len(rows)}", f"{name}: {study.title}"
    overview = {
        "Study": name,
        "Runs ok": ok,
        "Others": _counted(row["status"] for row in lacking),
        "Claims": _counted(sorted(verdicts["verdict"], key=get_args(Verdict).index)),
    }
    lines = [f"{ok} runs ok", *_named(lacking), _size(_sizes(f1))]
    lines += [*trained_again(rows), *tables.not_testable(rows)]
    section = [f"## {title}", f"{study.question} ({_paper(study)})", "\n".join(f"- {line}" for line in lines)]
    section += [_markdown(_scores(study, f1))] if f1 else []
    section += [_markdown(claims.show_verdicts(verdicts))] if study.claims else []
    holds = {
        "overview": overview,
        "sizes": _sizes(f1),
        "section": section,
        "begun": any(row["status"] not in (tables.NOT_RUN, studies.NOT_TESTABLE) for row in rows),
        "waiting": f"- {title}, {len(rows)} runs ({_paper(study)})",
    }
    return read, holds


def _head(profile: Profile, found: Sequence[dict]) -> list[str]:
    mark = [f"**{mark}**"] if (mark := tables.smoke_mark(profile.profile)) else []
    size = _size([size for one in found for size in one["sizes"]])
    version = versions.shown_version(profile.profile)
    reading = READING.format(version="" if version == 1 else f", version {version}")
    overview = _markdown([one["overview"] for one in found])
    return [f"# Profile {profile.profile}: {profile.note}", *mark, size, reading, overview]


def _links(name: str, folder: Path) -> list[str]:
    """One line with links to those of a study's files that are there."""
    files = {what: file.format(name) for what, file in FILES.items()}
    links = [f"[{what}]({file})" for what, file in files.items() if (folder / file).is_file()]
    return [", ".join(links)] if links else []


def _named(rows: Sequence[Result]) -> list[str]:
    """Variants and seeds, a line for those of one status and the same seeds."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        seeds.setdefault((row["status"], row["variant"]), []).append(str(row["seed"]))
    alike: dict[tuple[str, str], list[str]] = {}
    for (status, variant), some in seeds.items():
        alike.setdefault((status, ", ".join(some)), []).append(variant)
    return [f"{status}: {', '.join(names)} (seeds: {some})" for (status, some), names in alike.items()]


def _scores(study: Study, f1: Mapping[str, Interval]) -> list[dict]:
    """Best, worst and baseline; then the variants that are evaluated otherwise, and in what."""
    usual = study.variant(study.baseline).evaluation.model_dump()
    other = {
        name: ", ".join(f"{key}: {value}" for key, value in asked.items() if value != usual[key])
        for name in f1
        if (asked := study.variant(name).evaluation.model_dump()) != usual
    }
    sign = -1 if TASKS[usual["task"]].main.lower_is_better else 1
    ranked = sorted(f1.keys() - other.keys(), key=lambda name: (-sign * f1[name].value, name))
    ranked = [] if ranked == [study.baseline] else ranked  # alone it is neither
    roles = [("best", name) for name in ranked[:1]] + [("worst", name) for name in ranked[1:][-1:]]
    roles += [("baseline", study.baseline), *((what, name) for name, what in other.items())]
    return [
        {"": role, "Variant": name} | _cells(f1.get(name), _metric_name(study, name)) for role, name in roles
    ]


def _metric_name(study: Study, variant: str) -> str:
    """What a number of another task than slots has to be called, with a space behind it."""
    metric = TASKS[study.variant(variant).evaluation.task].main
    return "" if metric.name == "f1" else f"{metric.heading} "


def _cells(found: Interval | None, named: str) -> dict:
    if found is None:
        return {"F1": "–", "Seeds": "–"}
    shown = named + with_interval(found.value, found.low, found.high)
    return {"F1": shown, "Seeds": found.n_seeds}


def _sizes(f1: Mapping[str, Interval]) -> list[list[int]]:
    return [[found.n, found.n_speakers, found.n_seeds] for found in f1.values()]


def _size(sizes: Sequence[Sequence[int]]) -> str:
    return tables.size(*zip(*sizes)) if sizes else "Nothing has been scored."


def _paper(study: Study) -> str:
    known = study.paper != "none"
    return "paper: " + (f"[{study.paper}](https://arxiv.org/abs/{study.paper})" if known else "none")


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{n} {value}" for value, n in Counter(values).items()) or "–"


def _markdown(table: pd.DataFrame | list[dict]) -> str:
    return pd.DataFrame(table).to_markdown(index=False, disable_numparse=True)
