"""Where things are on disk: the project, its cache and its results.

`SPEECHLLM_BENCH_HOME` moves the cache and the results elsewhere (tests use a temporary folder).
`SPEECHLLM_BENCH_EXPERIMENTS` names a folder with further studies and profiles. The embedded backbones always
belong to the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
EXPERIMENTS = PROJECT / "experiments"
AXES = EXPERIMENTS / "shared" / "axes.yaml"  # what studies of any folder have in common
NOTEBOOKS = PROJECT / "notebooks"
HOME = "SPEECHLLM_BENCH_HOME"  # variable that moves the cache and the results
OWN_EXPERIMENTS = "SPEECHLLM_BENCH_EXPERIMENTS"  # variable that names the folder of the user's own
TRACK = "SPEECHLLM_BENCH_TRACK"  # variable that names the trackers of trainings, with commas between


def home() -> Path:
    return Path(os.environ.get(HOME, PROJECT)).resolve()


def shown(path: Path) -> str:
    """A path as seen from the folder where results are."""
    return str(path.relative_to(home())) if path.is_relative_to(home()) else str(path)


def experiment_folders() -> list[Path]:
    """Folders of studies and profiles: this checkout's, then the user's own where one is named."""
    own = os.environ.get(OWN_EXPERIMENTS)
    return [EXPERIMENTS, *([Path(own).resolve()] if own else [])]


def cache() -> Path:
    """Corpora and encoder frames: rebuilt when missing, safe to delete."""
    return home() / ".cache"


def results(profile: str) -> Path:
    return home() / "results" / profile


def result_files(pattern: str) -> list[Path]:
    """Files of the results that match a pattern below `results/`: of the home, then of this checkout.

    A home elsewhere has none of what the repository ships. Of the same place below both, the home's counts.
    """
    found: dict[Path, Path] = {}
    for root in (home() / "results", PROJECT / "results"):
        for file in sorted(root.glob(pattern)):
            found.setdefault(file.relative_to(root), file)
    return list(found.values())


def fetched() -> Path:
    """Backbones and voices that `speechllm-bench fetch` writes, a folder each."""
    return home() / "fetched"


def backbone(name: str) -> Path | str:
    """A zoo folder of this checkout (`zoo/...`), a fetched folder of the home (`fetched/...`), or a hub name
    or folder passed through."""
    if name.startswith("fetched/"):
        return home() / name
    return PROJECT / name if name.startswith("zoo/") else name
