"""The command `audit`: checks that stored files are unchanged and can be derived from their inputs.

It compares hashes, recomputes scores from predictions and redraws tables from scores. It searches executed
notebooks for cells that failed or never ran. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from speechllm_bench.audit import notebooks, report_files, run_files
from speechllm_bench.audit.run_files import Found
from speechllm_bench.errors import UserError
from speechllm_bench.storage import paths, runs


@dataclass(frozen=True)
class Report:
    """Findings of an audit, in the order of the checks."""

    found: tuple[Found, ...]

    @property
    def wrong(self) -> list[str]:
        return [one.wrong for one in self.found if one.wrong]

    def __str__(self) -> str:
        lines = []
        for part in dict.fromkeys(one.part for one in self.found):
            own = [one for one in self.found if one.part == part]
            unchecked = sum(one.unchecked for one in own)
            wrong = sum(one.wrong is not None for one in own)
            lines.append(
                {"part": part, "checked": len(own) - unchecked, "wrong": wrong, "unchecked": unchecked}
            )
        table = pd.DataFrame(lines).to_markdown(index=False) if lines else "There is nothing to check."
        return "\n".join([table, *(f"wrong: {sentence}" for sentence in self.wrong)])


def audit_results(folder: Path | None = None, quick: bool = False) -> Report:
    """Check a folder, or all results, backbones and caches of the home.

    folder: the results of one profile, or a folder of several such. quick: check hashes and notebooks only.
    Raises UserError where `folder` holds no results.
    """
    return Report(tuple(_all(folder, quick)))


def _all(folder: Path | None, quick: bool) -> Iterator[Found]:
    if folder is None:
        yield from run_files.check_backbones()
        yield from run_files.caches(paths.cache())
    for results in _results(folder or paths.home() / "results", required=folder is not None):
        yield from _profile(results, quick)
    if not quick:
        root = folder or paths.home()
        yield from report_files.check_ledger(root / "results" if (root / "results").is_dir() else root)


def _profile(results: Path, quick: bool) -> Iterator[Found]:
    for folder in run_files.inside(results / "runs"):
        yield from run_files.check_run(folder, quick)
    for folder in run_files.inside(results / "stages"):
        yield from run_files.sealed_record(folder / "stage.json", "stages", runs.DELETE_FOLDER)
    yield from run_files.check_shipped(results)
    yield from notebooks.check_notebooks(results)
    if not quick:
        yield from report_files.check_reports(results)


def _results(folder: Path, required: bool) -> Iterable[Path]:
    """Return the result folders of single profiles: the folder itself, or folders in it."""
    inner = (folder / "results", folder) if (folder / "results").is_dir() else (folder,)
    for place in inner:
        if (place / "runs").is_dir():
            return [place]
        if several := sorted(inside.parent for inside in place.glob("*/runs") if inside.is_dir()):
            return several
    if required:
        raise UserError(f"{folder} holds no results; name a folder such as results/mini, which has runs/")
    return []
