"""What a profile has found, study by study, as `results/<profile>/README.md`; from stored records alone.

The same records give the same bytes, so it names no dates and no places on a machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pandas as pd

from speechllm_bench import paths, runs, studies
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import versions
from speechllm_bench.experiments import Study
from speechllm_bench.profiles import Profile
from speechllm_bench.reports import captions, tables
from speechllm_bench.reports import study as reports
from speechllm_bench.reports.claims import Verdict
from speechllm_bench.reports.curves import trained_again
from speechllm_bench.schema import Interval
from speechllm_bench.stats import with_interval
from speechllm_bench.tasks import TASKS

FILES = {
    "table": "tables/{}.md",
    "claims": "tables/{}_claims.md",
    "learning curves": "figures/{}_curves.png",
    "F1 against parameters": "figures/{}_parameters.png",
    "gradients": "figures/{}_gradients.png",
    "families": "figures/{}_families.png",
    "systems on three test sets": "figures/{}_systems.png",
    "levels": "figures/{}_levels.png",
    "traces": "tables/{}_traces.md",
    "F1 against tokens of an answer": "figures/{}_cost.png",
    "types": "figures/{}_types.png",
    "scale": "figures/{}_scale.png",
    "settings": "figures/{}_settings.png",
    "noise of labels": "figures/{}_noise.png",
    "alignment": "tables/{}_alignment.md",
    "curves over core-seconds": "figures/{}_seconds.png",
    "changes": "tables/{}_changes.md",
    "skills left": "tables/{}_retention.md",
    "SLUE score": "tables/{}_slue.md",
    "relative gains": "tables/{}_gains.md",
    "cost of decoding": "tables/{}_decoding.md",
    "F1 by tag": "tables/{}_tags.md",
    "boundaries of entities": "tables/{}_boundaries.md",
    "labels by filter": "tables/{}_labels.md",
    "errors of labels": "tables/{}_errors.md",
    "executed notebook": "notebooks/{}.ipynb",
}
READING = (
    "F1 is of slots, by partial match{version}; brackets hold its 95 % interval. Other tasks show their main "
    "metric in its place, by name. A claim's difference is paired. Claims were made at the paper's scale, on "
    "its own data. Best and worst are of the variants that are evaluated as the baseline is. "
    "docs/glossary.md explains the words, and docs/protocol.md the rules (12 to 14)."
)


@dataclass(frozen=True)
class _Found:
    """What is stored of one study."""

    study: Study
    title: str
    rows: list[dict]  # studies.records
    lacking: list[dict]  # those of them that are not ok
    f1: dict[str, Interval]  # of the variants that have a score
    verdicts: pd.DataFrame

    @property
    def begun(self) -> bool:
        return any(row["status"] not in (tables.NOT_RUN, studies.NOT_TESTABLE) for row in self.rows)

    @property
    def ok(self) -> str:
        return f"{len(self.rows) - len(self.lacking)} of {len(self.rows)}"


def write(profile: str) -> Path:
    """Write the summary of every study in experiments/, over the profile's seeds; returns its path.

    Raises UserError, with the study's name, where records cannot be read or do not belong in one table.
    """
    found = [_found(name, profile) for name in studies.known_studies()]
    blocks = _head(studies.profile_named(profile), found)
    for one in found:
        blocks += _section(one, paths.results(profile)) if one.begun else []
    if waiting := [one for one in found if not one.begun]:
        lines = [f"- {one.title}, {len(one.rows)} runs ({_paper(one.study)})" for one in waiting]
        blocks += [f"## {tables.NOT_RUN}", "\n".join(lines)]
    file = paths.results(profile) / "README.md"
    runs.write_text(file, "\n\n".join(blocks) + "\n")
    return file


def _found(name: str, profile: str) -> _Found:
    study, _ = studies.load(name, profile)
    try:
        rows = studies.records(name, profile)
        studies.refuse_untold(rows)
        tables.refuse_mixtures(rows)
        # Not the whole table, which takes a bootstrap a metric: that of F1 alone gives the same F1.
        f1 = {variant: found for variant in study.variants if (found := tables.main_metric(rows, variant))}
        verdicts = reports.verdicts(study, rows)
    except UserError as error:
        raise UserError(f"study '{name}': {error}") from None
    lacking = [row for row in rows if row["status"] != "ok"]
    return _Found(study, f"{name}: {study.title}", rows, lacking, f1, verdicts)


def _head(profile: Profile, found: Sequence[_Found]) -> list[str]:
    overview = [
        {
            "Study": one.study.study,
            "Runs ok": one.ok,
            "Others": _counted(row["status"] for row in one.lacking),
            "Claims": _counted(sorted(one.verdicts["verdict"], key=get_args(Verdict).index)),
        }
        for one in found
    ]
    mark = [f"**{mark}**"] if (mark := tables.smoke_mark(profile.profile)) else []
    size = _size([f1 for one in found for f1 in one.f1.values()])
    version = versions.shown_version(profile.profile)
    reading = READING.format(version="" if version == 1 else f", version {version}")
    return [f"# Profile {profile.profile}: {profile.note}", *mark, size, reading, _markdown(overview)]


def _section(found: _Found, folder: Path) -> list[str]:
    blocks = [f"## {found.title}", f"{found.study.question} ({_paper(found.study)})"]
    lines = [f"{found.ok} runs ok", *_named(found.lacking), _size(found.f1.values())]
    lines += [*trained_again(found.rows), *captions.not_testable(found.rows)]
    blocks.append("\n".join(f"- {line}" for line in lines))
    if found.f1:
        blocks.append(_markdown(_scores(found.study, found.f1)))
    if found.study.claims:
        blocks.append(_markdown(reports.show_verdicts(found.verdicts)))
    files = {what: file.format(found.study.study) for what, file in FILES.items()}
    links = [f"[{what}]({file})" for what, file in files.items() if (folder / file).is_file()]
    return [*blocks, ", ".join(links)] if links else blocks


def _named(rows: Sequence[dict]) -> list[str]:
    """Variants and seeds, a line for those of one status and the same seeds."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        seeds.setdefault((row["status"], row["variant"]), []).append(str(row["seed"]))
    alike: dict[tuple[str, str], list[str]] = {}
    for (status, variant), some in seeds.items():
        alike.setdefault((status, ", ".join(some)), []).append(variant)
    return [f"{status}: {', '.join(names)} (seeds: {some})" for (status, some), names in alike.items()]


def _scores(study: Study, f1: dict[str, Interval]) -> list[dict]:
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


def _size(found: Iterable[Interval]) -> str:
    sizes = [(f1.n, f1.n_speakers, f1.n_seeds) for f1 in found]
    return captions.size(*zip(*sizes)) if sizes else "Nothing has been scored."


def _paper(study: Study) -> str:
    known = study.paper != "none"
    return "paper: " + (f"[{study.paper}](https://arxiv.org/abs/{study.paper})" if known else "none")


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{n} {value}" for value, n in Counter(values).items()) or "–"


def _markdown(table: pd.DataFrame | list[dict]) -> str:
    return pd.DataFrame(table).to_markdown(index=False, disable_numparse=True)
