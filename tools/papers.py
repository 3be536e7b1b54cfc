"""Generates the maps from the papers' tables to studies, commands and figures, from
studies' YAML and records.

A figure or table is from the first profile, `small` before `mini`, in which all telling variants of the study
were run. If there is none, it is from the first one that has any.
"""

from __future__ import annotations

import re

from front import PROFILES, PROJECT, rows_of

from speechllm_bench.settings import catalogue, experiments
from speechllm_bench.settings.experiments import Study

PAPERS = {"2510.15851": "Slot filling", "2510.19326": "Reasoning", "2509.04473": "SENSE", "none": "ours"}


def cited() -> str:
    """Return one row per study that reruns something in a paper. Paths are relative to README.md."""
    lines = ["| Paper | Where in it | Study | Command | Figure |", "|---|---|---|---|---|"]
    for paper, study in in_order():
        if places := _places(study):
            command = f"`make STUDY={study.study}`"
            cells = (_source(paper), places, _link(study), command, _figure(study))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def studies() -> str:
    """Return a table of studies per paper, with their titles. Paths are relative to docs/."""
    lines = []
    for paper, study in in_order():
        if (heading := f"## {_source(paper) if paper != 'none' else 'Of no paper'}") not in lines:
            columns = "| Study | What it is about | Where in the paper | Table | Figure |"
            lines += ["", heading, "", columns, "|---|---|---|---|---|"]
        shown = _table(study, "../"), _figure(study, "../")
        cells = (_link(study, "../"), study.title, _places(study) or "ours", *shown)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines).strip()


def in_order() -> list[tuple[str, Study]]:
    """Return the studies by paper, then by the first table or section that they rerun."""
    files = {name: file for name, file in catalogue.study_files().items() if PROJECT in file.parents}
    named = [experiments.load_study(file) for file in files.values()]
    papers = list(PAPERS)
    return sorted(
        ((study.paper, study) for study in named),
        key=lambda pair: (papers.index(pair[0]), _first(_places(pair[1])), pair[1].study),
    )


def _places(study: Study) -> str:
    """Return the tables and sections in a study's figures and claims, such as "Tables 2, 5; section 3.6"."""
    sources = [entry.source for entry in study.reported] + [entry.source for entry in study.claims]
    own = " ".join(source for source in sources if source.startswith(study.paper))
    listed = re.findall(r"Tables? (\d+(?:(?:,| and) \d+)*)", own)
    tables = set(re.findall(r"\d+", " ".join(listed)))
    sections = set(re.findall(r"sections? (\d+\.\d+)", own))
    named = [f"Appendix {letter}" for letter in sorted(set(re.findall(r"Appendix (\w)", own)))]
    named += [word for word in ("abstract", "method") if re.search(rf", {word}", own)]
    parts = [_counted("Table", sorted(tables, key=int)), _counted("section", sorted(sections)), *named]
    return "; ".join(part for part in parts if part)


def _counted(word: str, numbers: list[str]) -> str:
    return f"{word}{'s' * (len(numbers) > 1)} {', '.join(numbers)}" if numbers else ""


def _first(places: str) -> tuple:
    """Return a sort key: tables, then sections, then other places, then studies that name none."""
    found = re.match(r"(Table|section)s? ([\d.]+)", places)
    return (("Table", "section").index(found[1]), float(found[2])) if found else (2 if places else 3, 0)


def _source(paper: str) -> str:
    return f"[{PAPERS[paper]}](https://arxiv.org/abs/{paper})"


def _link(study: Study, up: str = "") -> str:
    return f"[`{study.study}`]({up}experiments/{study.study}.yaml)"


def _figure(study: Study, up: str = "") -> str:
    """Return a link to a figure of the study: its own, else F1 against parameters, else curves."""
    name = study.study
    others = [other for other in catalogue.study_files() if other.startswith(f"{name}_")]
    for profile in _profiles(study):
        files = sorted((PROJECT / "results" / profile / "figures").glob(f"{name}_*.png"))
        own = [file for file in files if not file.stem.startswith(tuple(f"{other}_" for other in others))]
        if own:
            file = min(
                own, key=lambda f: (f.stem.endswith("_curves"), f.stem.endswith("_parameters"), f.name)
            )
            what = file.stem.removeprefix(f"{name}_").replace("_", " ")
            return f"[{what}, {profile}]({up}{file.relative_to(PROJECT).as_posix()})"
    return _unrun(study)


def _table(study: Study, up: str) -> str:
    for profile in _profiles(study):
        return f"[{profile}]({up}results/{profile}/tables/{study.study}.md)"
    return _unrun(study)


def _unrun(study: Study) -> str:
    """Return NOT TESTABLE if no profile with results can run a variant of the study, else NOT RUN."""
    rows = [row for profile in PROFILES for row in rows_of(profile, study.study).values()]
    return "NOT TESTABLE" if rows and all(row["status"] == "NOT TESTABLE" for row in rows) else "NOT RUN"


def _profiles(study: Study) -> list[str]:
    """Return the profiles in which a variant of the study was run, those with all telling variants first."""
    ran = {
        profile: {row for row, line in rows_of(profile, study.study).items() if line["seeds"]}
        for profile in PROFILES
    }
    return sorted(
        filter(ran.get, PROFILES),
        key=lambda profile: not set(study.telling or study.variants) <= ran[profile],
    )
