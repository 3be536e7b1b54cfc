"""Folders of backbones: where they are, whether they are complete, and whether their files are unchanged.

Three kinds of folder have recorded hashes: a zoo folder in the seal of `training.json`, a fetched folder in
its pins, and the copy of a hub model in its blobs, whose names are their hashes. Any other folder has none; a
changed one is another backbone with another digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.fetch import folders
from speechllm_bench.fetch.hub import HASHED, INDEX, SINGLE
from speechllm_bench.fetch.pinned import pins
from speechllm_bench.fetch.sources import load_sources
from speechllm_bench.storage import paths, runs, sealed

RECORD = "training.json"
RECORDS = {RECORD, "evaluation.json", "fetched.json"}
"""Files on the origin of the weights. They do not affect the model."""

LARGE = 2**28  # bytes; smaller files are hashed quickly


def backbone_folder(name: str) -> Path:
    """Return a backbone's folder: of the zoo, fetched, the user's own, or the local copy of a hub model.

    Nothing is downloaded. Raises MissingInput, with the remedy, where the backbone is missing or incomplete.
    """
    folder = _folder(name)
    if lacking := fault(folder):
        raise MissingInput(f"backbone '{name}' is incomplete ({lacking}); {remedy(name)}")
    return folder


def fault(folder: Path) -> str | None:
    """Return None for a folder with a configuration and all its weights, else a phrase on what is wrong.

    Only the headers of the weights are read. They reveal a file that is cut short or lacks a tensor of the
    index.
    """
    if (folder / SINGLE).is_file() or not (folder / INDEX).is_file():
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            return f"no .safetensors file is in {folder}"
        shards: dict[str, set[str]] = {file.name: set() for file in files}
    else:
        try:
            shards = _indexed(folder)
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return f"{folder / INDEX} is damaged"
    if not (folder / "config.json").is_file():
        return f"config.json is not in {folder}"
    return next((broken for file in shards if (broken := _broken(folder / file, shards[file]))), None)


def _indexed(folder: Path) -> dict[str, set[str]]:
    """Return the tensor names of each file, from the index of a model in several files.

    Raises ValueError for a file outside the folder, which would be in no digest.
    """
    shards: dict[str, set[str]] = {}
    for tensor, file in json.loads((folder / INDEX).read_bytes())["weight_map"].items():
        if Path(file).name != file:
            raise ValueError(file)
        shards.setdefault(file, set()).add(tensor)
    return shards


def refuse_changed(name: str) -> None:
    """Compare a backbone's files with the hashes that its folder records. A process hashes a file only once.

    Raises UserError, with the remedy, where a file was changed. A missing folder, and one without recorded
    hashes, passes.
    """
    try:
        folder = _folder(name)
    except MissingInput:
        return
    for wrong in _changed(folder, name):
        raise UserError(f"backbone '{name}' is damaged ({wrong}): {remedy(name)}")


def hashed_files(folder: Path) -> list[Path]:
    """Return the files that define a backbone's identity: weights, configuration and tokenizer."""
    return [p for p in sorted(folder.iterdir()) if _hashed(p)]


def training_record(folder: Path) -> dict:
    """Return what the zoo recorded of a backbone's training. Empty for a backbone of other makers.

    Their file of that name has no seal and no recipe of the zoo. Raises UserError for a damaged record.
    """
    file = folder / RECORD
    ours = file.is_file() and not {sealed.SEAL, "recipe"}.isdisjoint(runs.read_json(file))
    return sealed.read(file) if ours else {}


def pinned_hashes(name: str) -> dict[str, str] | None:
    """Return the pinned sha256, by file, of a fetched backbone that is not on this machine.

    The files are those of `hashed_files`. Returns None for any other backbone.
    """
    short = name.removeprefix("fetched/")
    if short == name or short not in pins().folders or Path(paths.backbone(name)).is_dir():
        return None
    pinned = folders.expected(pins().folders[short])
    return {file: value for file, value in sorted(pinned.items()) if _hashed(Path(file))}


def file_sha256(file: Path) -> str:
    """Return the sha256 of a file. A large file is hashed once per machine while its size and times stay.

    The models of profile `paper` have 84 GB in total.
    """
    return sealed.known_sha256(file, stamped=file.stat().st_size >= LARGE)


def remedy(name: str) -> str:
    if name.startswith("zoo/"):
        made = f"or train it with `speechllm-bench zoo train {name.removeprefix('zoo/')}`"
        return f"bring the folder back with `git checkout {name}` and run again, {made}"
    if name.startswith("fetched/"):
        return "fetch it again with `speechllm-bench fetch small`"
    return "get the model anew, or correct its name in the profile, and run again"


def _hashed(file: Path) -> bool:
    return file.suffix in HASHED and file.name not in RECORDS


def _folder(name: str) -> Path:
    folder = Path(paths.backbone(name))
    if folder.is_dir():
        return folder
    if name.startswith("zoo/"):
        raise MissingInput(
            f"backbone '{name}' is missing; train it with `speechllm-bench zoo train {folder.name}`"
        )
    if name.startswith("fetched/"):
        raise MissingInput(f"backbone '{name}' is missing; fetch it with `speechllm-bench fetch small`")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except RuntimeError:  # a container's user may have no home folder
        raise MissingInput(
            f"backbone '{name}' is looked for below the home folder, and there is none; set HOME or HF_HOME"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError) as error:
        # The hub's client may miss files that are not needed here. `fault` checks the needed ones.
        if there := getattr(error, "snapshot_path", None):
            return Path(there)
        known = (
            f"speechllm-bench fetch paper --only {name}"
            if name in load_sources().models
            else f"hf download {name}"
        )
        raise MissingInput(
            f"backbone '{name}' is not on this machine; fetch it with `{known}` and start again"
        ) from None


def _broken(file: Path, tensors: set[str]) -> str | None:
    """Return None for a safetensors file with the length of its header and these tensors, else a phrase."""
    try:
        with safe_open(file, "np") as stored:  # reads the header alone
            lacking = tensors - set(stored.keys())
    except FileNotFoundError:
        return f"{file.name} is not in {file.parent}"
    except (OSError, SafetensorError):
        return f"{file} is damaged or cut short"
    return f"{file} lacks tensors that {INDEX} names" if lacking else None


def _changed(folder: Path, name: str) -> Iterator[str]:
    """Yield a phrase for each file that differs from its recorded hash."""
    if name.startswith("fetched/"):
        pinned = pins().folders.get(name.removeprefix("fetched/"))
        for file, value in (folders.expected(pinned) if pinned else {}).items():
            if not (folder / file).is_file() or file_sha256(folder / file) != value:
                yield f"{file} is not the pinned one"
        return
    try:
        training_record(folder)
    except UserError as error:
        yield str(error).partition(";")[0]
    for hashed in hashed_files(folder):
        if hashed.is_symlink() and (blob := hashed.resolve()).parent.name == "blobs":
            sha = {64: file_sha256, 40: _git_sha1}.get(len(blob.name))
            if sha and sha(blob) != blob.name:
                yield f"{hashed.name} is not what the hub sent"


def _git_sha1(file: Path) -> str:
    """Return the git blob hash of a file, by which the hub names small files."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
