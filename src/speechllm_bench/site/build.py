"""Writes the site: pages, libraries and data of every profile that has stored runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from tqdm import tqdm

from speechllm_bench.cite import bib, ledger
from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.reports import looks, study
from speechllm_bench.settings.experiments import Study
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.settings.profiles import with_results
from speechllm_bench.settings.strict import load_yaml
from speechllm_bench.site import beside, draws, packed, payload, recordings, run_answers
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.numbers import Row

NOTE = "@NOTE@"  # placeholder in BibTeX entries that the page replaces by ids
SCRIPTS = ("core", "stats", "cite", "table", "charts", "flips", "compare", "study", "claims", "main")
PARTS = ("assets", "audio", "data", "vendor")  # folders in which this module writes every file
RECORDINGS, DRAWS = "recordings", "draws of intervals"  # parts of the work beside the studies
PROGRESS = "{desc}: {percentage:.0f} %, {elapsed} passed, about {remaining} left"
CLIPS_A_RUN, WORK_OF_DRAWS = 20, 20  # as much work as a run, and in runs
MARKER = ".speechllm-bench-site"  # marks a folder that this module wrote and may overwrite


def default_folder() -> Path:
    """Return the folder of the site unless another one is named."""
    return paths.home() / "site-html"


def write(profiles: Sequence[str] = (), folder: Path | None = None) -> Path:
    """Write the site of these profiles, by default of all with stored runs. Return its first page.

    Data of runs that have not changed is kept. Raises UserError for an unknown profile, where nothing is
    stored, and for a folder with other files.
    """
    for name in profiles:
        studies.profile_named(name)
    folder = default_folder() if folder is None else folder
    names = list(profiles) or with_results(_has_runs)
    if not names or not all(map(_has_runs, names)):
        lacking = next((name for name in names if not _has_runs(name)), "any profile")
        raise UserError(f"there are no stored runs of {lacking}; `make` writes some")
    _claim(folder)
    loaded = {name: studies.load(name, names[0])[0] for name in studies.known_studies()}
    rows = {p: {name: study.rows_of(name, p) for name in loaded} for p in names}
    kept = {folder / MARKER, *_assets(folder)}
    freedoms: dict[int, set[int]] = {}  # by number of speakers
    marked: dict[str, str] = {}
    work = _work(rows)
    bar = tqdm(total=sum(work.values()), bar_format=PROGRESS)
    for profile in names:
        writer = run_answers.Writer(folder, profile)
        for name, found in loaded.items():
            some = payload.runs_of(found, profile, rows[profile][name])
            made = payload.study_payload(found, profile, rows[profile][name], some)
            for n_speakers, needed in payload.draws_for(made):
                freedoms.setdefault(n_speakers, set()).update(needed)
            kept.add(packed.write(folder, f"{profile}/{name}", made))
            for row in made["rows"]:
                marked |= {f"{profile}/{row['key']}/{column}": mark for column, mark in row["marks"].items()}
            writer.add(some)
            _tell(bar, f"{profile}/{name}", work)
        writer.finish()
        _tell(bar, f"{profile}/{RECORDINGS}", work)
        kept |= writer.kept
    for n_speakers, needed in freedoms.items():
        kept.add(packed.write(folder, f"draws/{n_speakers}", draws.of(n_speakers, needed)))
    _tell(bar, DRAWS, work)
    bar.close()
    kept.add(packed.write(folder, "index", _index(names, loaded, rows, marked)))
    for old in (old for part in PARTS for old in (folder / part).rglob("*")):
        if old.is_file() and old not in kept:
            old.unlink()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{size / 1e6:.1f} MB in all", file=sys.stderr, flush=True)
    return folder / "index.html"


def _tell(bar: tqdm, part: str, work: Mapping[str, float]) -> None:
    bar.set_description(part)
    bar.update(work[part])


def _claim(folder: Path) -> None:
    """Accept a folder that is new, empty or written by this module. UserError for any other."""
    if folder.exists() and not (folder / MARKER).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds other files; name a new folder, or an empty one")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def _has_runs(profile: str) -> bool:
    return any((paths.results(profile) / "runs").glob("*/run.json"))


def _assets(folder: Path) -> list[Path]:
    """Write pages, scripts and libraries with their licences."""
    package, written = files(__package__), []
    libraries = json.loads(package.joinpath("vendor", "vendor.json").read_text("utf-8"))
    for library in libraries:
        for name in (library["file"], library["licence_file"]):
            written.append(folder / "vendor" / name)
            runs.write_bytes(written[-1], package.joinpath("vendor", name).read_bytes(), lasting=False)
    for name in ("index.html", "site.css", *(f"{script}.js" for script in SCRIPTS)):
        written.append(folder / name if name.endswith("html") else folder / "assets" / name)
        runs.write_text(written[-1], package.joinpath("assets", name).read_text("utf-8"), lasting=False)
    return written


def _work(rows: Mapping[str, Mapping[str, Sequence[Row]]]) -> dict[str, float]:
    """Return an estimate of each part's work, in runs. rows: by profile and study."""
    work: dict[str, float] = {}
    seen: set[str] = set()  # a run of several studies is written once
    for profile, by_study in rows.items():
        for name, some in by_study.items():
            found = {digest for row in some for digest in row.runs}
            work[f"{profile}/{name}"], seen = 1 + len(found - seen), seen | found
        work[f"{profile}/{RECORDINGS}"] = 1 + recordings.turns_in_packs(profile) / CLIPS_A_RUN
    return work | {DRAWS: WORK_OF_DRAWS}


def _index(profiles: Sequence[str], loaded: Mapping, rows: Mapping, marked: Mapping[str, str]) -> dict:
    """Return the ledger of claims and the studies, for the first page. marked: marks by id."""
    entries = load_yaml(ledger.Ledger, ledger.file())
    numbered = {p: {row.key: row for some in rows[p].values() for row in some} for p in profiles}
    judged = ledger.judged(entries, numbered).astype(object)
    papers = {found.paper for found in loaded.values()} | set(entries.papers)
    return {
        "profiles": {
            p: {"smoke": base_profile(p) == "smoke", "note": studies.profile_named(p).note} for p in profiles
        },
        "studies": [_about(found, profiles, rows) for found in loaded.values()],
        "papers": entries.papers,
        "bib": {paper: bib.noted(NOTE, [paper]) for paper in sorted(papers)},
        "claims": judged.where(judged.notna(), None).to_dict("records"),
        "effects": [
            effect | {"marks": marked.get(effect["id"], "")}
            for p in profiles
            for name, found in loaded.items()
            for effect in _effects(p, found, rows[p][name])
        ],
        "libraries": json.loads(files(__package__).joinpath("vendor", "vendor.json").read_text("utf-8")),
    }


def _about(found: Study, profiles: Sequence[str], rows: Mapping) -> dict:
    scored = [p for p in profiles if any(row.n for row in rows[p][found.study] if row.table == row.study)]
    about = found.model_dump(include={"study", "title", "paper", "question"})
    return about | {"profiles": scored}


def _effects(profile: str, found: Study, rows: Sequence[Row]) -> list[dict]:
    """Return the paired difference of each tested claim of a study."""
    claims = beside.by_row(found)
    labels = {name: look.label for name, look in looks.of(found).items()}
    lines = []
    for row in rows:
        if row.table == f"{found.study}_claims" and "difference" in row.cells:
            claim, cell = claims[row.name], row.cells["difference"]
            lines.append(
                {
                    "id": f"{profile}/{row.key}/difference",
                    "profile": profile,
                    "study": found.study,
                    **beside.claim_shown(found, claim),
                    "shown": found.compared(claim, labels),
                    "value": cell.value,
                    "low": cell.low,
                    "high": cell.high,
                    "p": row.cells["p"].value if "p" in row.cells else None,
                    "verdict": row.cells["verdict"].shown,
                    "reversed_by": row.cells["reversed_by"].shown if "reversed_by" in row.cells else None,
                    "seeds": len(row.seeds),
                }
            )
    return lines
