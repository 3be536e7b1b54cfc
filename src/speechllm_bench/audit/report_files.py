"""Check of tables, numbers, summaries and the ledger: made again in a temporary home, then compared."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from speechllm_bench.audit.run_files import Found
from speechllm_bench.cite import ledger
from speechllm_bench.commands import reporting
from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.reports import stamps, study, summary
from speechllm_bench.settings.overrides import split
from speechllm_bench.settings.profiles import known_profiles
from speechllm_bench.storage import numbers, paths, runs, sealed

PART = "tables and summary from scores"
LEDGER = "claims of all profiles from numbers"
NUMBERS = ("numbers.json", "numbers.tex")


def check_reports(results: Path) -> Iterator[Found]:
    """Check each stored table, the numbers and the summary.

    Tables that a notebook draws are left unchecked.
    """
    profile = _profile(results)
    stored = sorted(p for p in (results / "tables").glob("[!.]*") if p.is_file())
    stored += [p for name in ("README.md", *NUMBERS) if (p := results / name).is_file()]
    if not stored:
        return
    if profile is None:
        yield from (Found(PART, unchecked=True) for _ in stored)
        return
    names = [name for name in studies.known_studies() if (results / "tables" / f"{name}.csv").is_file()]
    left_out: tuple[str, ...] = ()
    if damaged := _damaged_numbers(results, profile):
        yield Found(PART, damaged)
        left_out = NUMBERS
        stored = [file for file in stored if file.name not in left_out]
    with _home(results, profile, left_out) as drawn:
        for name in names:
            yield from _told(lambda name=name: study.write(name, profile, draw=False), results, drawn)
        if (results / "README.md").is_file():
            yield from _told(lambda: summary.write(profile), results, drawn)
        for file in stored:
            yield _compared(file, drawn / file.relative_to(results), profile)


def check_ledger(results: Path) -> Iterator[Found]:
    """Check the pages of all claims, which stand beside the folders of profiles, against their numbers."""
    stored = [file for ending in ("csv", "md", "html") if (file := results / f"claims.{ending}").is_file()]
    if not stored:
        return
    with tempfile.TemporaryDirectory(prefix="audit_") as folder, paths.at_home(Path(folder)):
        drawn = Path(folder) / "results"
        drawn.mkdir()
        for file in results.resolve().glob(f"*/{NUMBERS[0]}"):
            (drawn / file.parent.name).symlink_to(file.parent)
        try:
            ledger.write(reporting.in_ledger())
        except UserError as error:
            yield Found(LEDGER, f"claims of {results} cannot be drawn again: {error}")
            return
        again = "draw it again with `speechllm-bench report all --profile NAME`"
        for file in stored:
            wrong = f"{file} is not what the profiles' numbers give now; {again}"
            yield Found(LEDGER, None if _same(file, drawn / file.name) else wrong)


def _damaged_numbers(results: Path, profile: str) -> str | None:
    """Return what is wrong with numbers.json, which further reports of a study build on."""
    file = results / NUMBERS[0]
    try:
        if file.is_file():
            sealed.read(file, numbers.REPORT.format(profile))
    except UserError as error:
        return str(error)
    return None


def _compared(file: Path, drawn: Path, profile: str) -> Found:
    if drawn.is_symlink():  # still the link to the stored file: no report made it again
        return Found(PART, unchecked=True)
    again = f"draw it again with `speechllm-bench report all --profile {profile}`"
    return Found(PART, None if _same(file, drawn) else f"{file} is not what its scores give now; {again}")


def _same(file: Path, drawn: Path) -> bool:
    return drawn.is_file() and drawn.read_bytes() == file.read_bytes()


def _told(draw, results: Path, drawn: Path) -> Iterator[Found]:
    try:
        draw()
    except UserError as error:
        told = str(error).replace(str(drawn), str(results))
        yield Found(PART, f"tables of {results} cannot be drawn again: {told}")


def _profile(results: Path) -> str | None:
    """Return the profile of a folder of results, from its records or else from its name."""
    for file in sorted(results.glob("runs/[!.]*/run.json")):
        with contextlib.suppress(UserError, KeyError, TypeError):
            found = runs.read_json(file)["profile"]
            return found if _is_profile(found) else None
    return results.name if _is_profile(results.name) else None


def _is_profile(name: object) -> bool:
    """Return whether an existing profile, with or without settings of --set, has this name."""
    with contextlib.suppress(UserError):
        return isinstance(name, str) and split(name)[0] in known_profiles()
    return False


@contextlib.contextmanager
def _home(results: Path, profile: str, left_out: tuple[str, ...] = ()) -> Iterator[Path]:
    """Make a temporary home whose results of one profile link to the stored ones. Yield its results folder.

    A new file replaces its link, so nothing stored changes.
    """
    paths.cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="audit_") as folder:
        home = Path(folder)
        own = home / "results" / profile
        own.mkdir(parents=True)
        for entry in results.resolve().iterdir():
            if entry.name in ("tables", "figures"):
                (own / entry.name).mkdir()
                for file in entry.iterdir():
                    (own / entry.name / file.name).symlink_to(file)
            elif entry.name not in left_out:
                (own / entry.name).symlink_to(entry)
        (home / paths.cache().name).mkdir()
        own_only = [paths.cache() / name for name in ("locks", "owners")]  # they may be another user's
        own_only.append(stamps.folder(profile).parent)  # without stamps all reports are made again
        for kept in (*paths.cache().iterdir(), paths.fetched()):
            if kept.exists() and kept not in own_only:
                (home / kept.relative_to(paths.home())).symlink_to(kept)
        with paths.at_home(home):
            yield own
