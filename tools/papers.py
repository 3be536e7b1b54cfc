"""The maps from the papers' tables to studies, commands and figures, and the README's first figure.

Made from the studies' YAML and from the recorded tables and figures. Where profile `small` has a figure it
is shown, and that of `mini` elsewhere.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from speechllm_bench import catalogue, experiments
from speechllm_bench.experiments import Study

PROJECT = Path(__file__).resolve().parents[1]
PROFILES = ("small", "mini")  # whose figures are shown, the first that has one
PAPERS = {"2510.15851": "Slot filling", "2510.19326": "Reasoning", "2509.04473": "SENSE", "none": "ours"}

FIRST = {
    "lora": (
        "lora_parameters",
        "Does LoRA on the LLM fill more slots than a frozen LLM? With it F1 goes "
        "from {cnn} to {cnn_lora} behind the CNN adapter and from {mlp} to {mlp_lora} behind the MLP.",
        "Behind the Transformer it goes from {transformer} to {transformer_lora}, or to "
        "{transformer_lora_own_rate} if the adapter keeps its own learning rate.",
        "A model that hears the wrong audio has {no_audio}.",
    ),
    "baselines": (
        "baselines_systems",
        "How far is the SpeechLLM from a text LLM? On test set A the LLM that reads gold transcripts has an "
        "F1 of {gold}, the cascade {cascade} and the SpeechLLM {speechllm}.",
        "A model that hears the wrong audio has {no_audio}.",
    ),
}
"""Studies that may answer on the first screen: a figure, and sentences that name variants' F1."""


def answer() -> str:
    """The first figure that is there, by profile and then by study, and what it answers in F1 of slots."""
    for profile in PROFILES:
        for study, (figure, first, *more) in FIRST.items():
            image = f"results/{profile}/figures/{figure}.png"
            rows = _rows(profile, study)
            f1 = {name: f"{float(row['f1']):.3f}" for name, row in rows.items() if row["f1"]}
            if not (PROJECT / image).is_file() or not (said := _filled(first, f1)):
                continue
            told = " ".join([said, *(s for text in more if (s := _filled(text, f1)))])
            seeds = max(int(row["seeds"]) for row in rows.values() if row["f1"])
            rests_on = f"Study `{study}`, profile `{profile}`, {seeds} seed{'s' * (seeds > 1)} per variant."
            return f'<img src="{image}" width="560" alt="F1 in study {study}">\n\n*{told}* {rests_on}'
    return "No study of the first screen has a record yet."


def cited() -> str:
    """One row a study that reruns something a paper reports; paths are the README's."""
    lines = ["| Paper | Where in it | Study | Command | Figure |", "|---|---|---|---|---|"]
    for paper, study in _in_order():
        if places := _places(study):
            command = f"`make STUDY={study.study}`"
            cells = (_source(paper), places, _link(study), command, _figure(study.study))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def studies() -> str:
    """All studies by paper, with the question's title; paths are those of docs/."""
    lines = []
    for paper, study in _in_order():
        if (heading := f"## {_source(paper) if paper != 'none' else 'Of no paper'}") not in lines:
            columns = "| Study | What it is about | Where in the paper | Table | Figure |"
            lines += ["", heading, "", columns, "|---|---|---|---|---|"]
        shown = _table(study.study, "../"), _figure(study.study, "../")
        cells = (_link(study, "../"), study.title, _places(study) or "ours", *shown)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines).strip()


def _in_order() -> list[tuple[str, Study]]:
    """Studies by paper, then by the first table or section that they rerun."""
    files = {name: file for name, file in catalogue.study_files().items() if PROJECT in file.parents}
    named = [experiments.load_study(file) for file in files.values()]
    papers = list(PAPERS)
    return sorted(
        ((study.paper, study) for study in named),
        key=lambda pair: (papers.index(pair[0]), _first(_places(pair[1])), pair[1].study),
    )


def _places(study: Study) -> str:
    """Tables and sections that a study's figures and claims name, as "Tables 2, 5; section 3.6"."""
    sources = [entry.source for entry in (*study.reported, *study.claims)]
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
    """Sorts tables before sections, sections before the rest, and a study that names none last."""
    found = re.match(r"(Table|section)s? ([\d.]+)", places)
    return (("Table", "section").index(found[1]), float(found[2])) if found else (2 if places else 3, 0)


def _source(paper: str) -> str:
    return f"[{PAPERS[paper]}](https://arxiv.org/abs/{paper})"


def _link(study: Study, up: str = "") -> str:
    return f"[`{study.study}`]({up}experiments/{study.study}.yaml)"


def _figure(study: str, up: str = "") -> str:
    """A link to one figure: the learning curves only where a study has no other."""
    others = [name for name in catalogue.study_files() if name.startswith(f"{study}_")]
    for profile in PROFILES:
        files = sorted((PROJECT / "results" / profile / "figures").glob(f"{study}_*.png"))
        own = [file for file in files if not file.stem.startswith(tuple(f"{name}_" for name in others))]
        if own:
            file = min(own, key=lambda f: (f.stem.endswith("_curves"), f.name))
            what = file.stem.removeprefix(f"{study}_").replace("_", " ")
            return f"[{what}, {profile}]({up}{file.relative_to(PROJECT).as_posix()})"
    return "NOT RUN"


def _table(study: str, up: str) -> str:
    for profile in PROFILES:
        file = f"results/{profile}/tables/{study}.md"
        if any(row["seeds"] for row in _rows(profile, study).values()):
            return f"[{profile}]({up}{file})"
    return "NOT RUN"


def _rows(profile: str, study: str) -> dict[str, dict]:
    file = PROJECT / "results" / profile / "tables" / f"{study}.csv"
    if not file.is_file():
        return {}
    with open(file, encoding="utf-8", newline="") as table:
        return {row["variant"]: row for row in csv.DictReader(table)}


def _filled(text: str, f1: dict[str, str]) -> str:
    """The text with each variant's F1; empty where one has none."""
    return text.format_map(f1) if set(re.findall(r"{(\w+)}", text)) <= set(f1) else ""
