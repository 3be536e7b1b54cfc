"""Paths on disk: the project, its cache and its results.

`SPEECHLLM_BENCH_HOME` moves the cache and the results elsewhere (tests use a temporary folder).
`SPEECHLLM_BENCH_EXPERIMENTS` names a folder with further studies and profiles. The embedded backbones always
belong to the checkout.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
EXPERIMENTS = PROJECT / "experiments"
AXES = EXPERIMENTS / "shared" / "axes.yaml"  # axes shared by studies of all folders
NOTEBOOKS = PROJECT / "notebooks"
HOME = "SPEECHLLM_BENCH_HOME"  # variable that moves the cache and the results
OWN_EXPERIMENTS = "SPEECHLLM_BENCH_EXPERIMENTS"  # variable that names the user's own folder
TRACK = "SPEECHLLM_BENCH_TRACK"  # variable that names the trackers of trainings, separated by commas


def home() -> Path:
    return Path(os.environ.get(HOME, PROJECT)).resolve()


@contextlib.contextmanager
def at_home(folder: Path) -> Iterator[None]:
    before = os.environ.get(HOME)
    os.environ[HOME] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[HOME]
        else:
            os.environ[HOME] = before


def shown(path: Path) -> str:
    """Return a path relative to the home folder if it is in there, else the whole path."""
    return str(path.relative_to(home())) if path.is_relative_to(home()) else str(path)


def experiment_folders() -> list[Path]:
    """Return the folders of studies and profiles: this checkout's, then the user's own if one is named."""
    own = os.environ.get(OWN_EXPERIMENTS)
    return [EXPERIMENTS, *([Path(own).resolve()] if own else [])]


def cache() -> Path:
    """Return the cache folder. Most of it is made again if it is missing, such as corpora and encoder frames.

    Three kinds of content are lost if they are deleted. `checkpoints` and `zoo` hold interrupted trainings,
    which start anew. `annotations`, `labels` and `traces` hold an annotator's answers, which may cost money
    and may differ the next time. `clips` hold neural speech, which takes hours where it is not in the
    repository.
    """
    return home() / ".cache"


def results(profile: str) -> Path:
    return home() / "results" / profile


def result_files(pattern: str) -> list[Path]:
    """Return the result files that match a pattern below `results/`, of the home folder and of this checkout.

    A home folder elsewhere lacks the files of the repository. If both have a file, the home's is returned.
    """
    found: dict[Path, Path] = {}
    for root in (home() / "results", PROJECT / "results"):
        for file in sorted(root.glob(pattern)):
            found.setdefault(file.relative_to(root), file)
    return list(found.values())


def fetched() -> Path:
    """Return the folder where `speechllm-bench fetch` puts backbones and voices, each in its own folder."""
    return home() / "fetched"


def backbone(name: str) -> Path | str:
    """Return the folder of a backbone: `zoo/...` in this checkout, or `fetched/...` in the home folder.

    Any other name, of a hub model or a folder, is returned unchanged.
    """
    if name.startswith("fetched/"):
        return home() / name
    return PROJECT / name if name.startswith("zoo/") else name
