"""Catalogue of studies, profiles and notebooks by name: of this checkout, and of a folder of the user's.

Both folders are laid out alike: studies are FOLDER/*.yaml, profiles are FOLDER/profiles/*.yaml. A study of
one may be resolved at a profile of the other. A name stands in one of them alone: results are kept by the
name of their profile, so two profiles of one name would share a table.
"""

from __future__ import annotations

from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.storage import paths


def study_files() -> dict[str, Path]:
    """Files of the studies, by name in the order of the alphabet."""
    return _files("study", ".")


def profile_files() -> dict[str, Path]:
    """Files of the profiles, by name in the order of the alphabet, with the hidden ones (`_*.yaml`)."""
    return _files("profile", "profiles")


def notebook_files() -> dict[str, Path]:
    """Stored notebooks by name: of this checkout, and beside the studies of the user's own folder."""
    folders = (
        *paths.experiment_folders()[1:],
        paths.NOTEBOOKS,
    )  # the checkout's last, so that none hides one of it
    found = {file.stem: file for folder in folders for file in folder.glob("*.ipynb")}
    return dict(sorted(found.items()))


def _files(kind: str, part: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in paths.experiment_folders():
        if not folder.is_dir():
            raise UserError(
                f"there is no folder {folder}, which --experiments or {paths.OWN_EXPERIMENTS} names; "
                "it holds studies, and profiles in its folder profiles"
            )
        for file in (folder / part).glob("*.yaml"):
            if file.stem in found:
                raise UserError(
                    f"{kind} '{file.stem}' stands twice, in {found[file.stem]} and in {file}; rename one"
                )
            found[file.stem] = file
    return dict(sorted(found.items()))
