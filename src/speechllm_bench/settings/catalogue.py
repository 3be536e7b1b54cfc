"""Lists studies, profiles and notebooks by name, from this checkout and from a folder of the user.

Both folders have one layout: studies are FOLDER/*.yaml, profiles are FOLDER/profiles/*.yaml. A study of one
folder may be resolved at a profile of the other. A name may be used in only one of them: results are stored
under the name of their profile, so two profiles of one name would share a table.
"""

from __future__ import annotations

from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.storage import paths


def study_files() -> dict[str, Path]:
    """Return the files of the studies by name, in alphabetical order."""
    return _files("study", ".")


def profile_files() -> dict[str, Path]:
    """Return the files of the profiles by name, in alphabetical order, with hidden ones (`_*.yaml`)."""
    return _files("profile", "profiles")


def notebook_files() -> dict[str, Path]:
    """Return the stored notebooks by name: those of this checkout, and those next to the user's studies."""
    # The checkout comes last, so its notebooks win over others of the same name.
    folders = (*paths.experiment_folders()[1:], paths.NOTEBOOKS)
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
        for file in filter(Path.is_file, (folder / part).glob("*.yaml")):
            if file.stem in found:
                raise UserError(
                    f"{kind} '{file.stem}' stands twice, in {found[file.stem]} and in {file}; rename one"
                )
            found[file.stem] = file
    return dict(sorted(found.items()))
