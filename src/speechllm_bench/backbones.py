"""A backbone's folder: where it is, whether it is whole, and whether its files are those that were recorded.

Three kinds of folder say what their files are: the zoo's by the seal of `training.json`, a fetched one by its
pins, and the copy of a hub model by its blobs, which are named by their hashes. Any other folder says
nothing; a change of it is another backbone, with another digest.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.fetch import folders
from speechllm_bench.fetch.hub import HASHED, INDEX, SINGLE
from speechllm_bench.fetch.pinned import pins
from speechllm_bench.fetch.sources import load_sources
from speechllm_bench.storage import paths, sealed

RECORD = "training.json"
RECORDS = {RECORD, "evaluation.json", "fetched.json"}
"""Files that say how the weights came about and change nothing that a model computes."""

LARGE = 2**28  # bytes; what is smaller is hashed in no time


def backbone_folder(name: str) -> Path:
    """The zoo's folder, a fetched one, a folder of the user's, or the local copy of a hub model.

    Nothing is downloaded; MissingInput says how to get what is missing, also where it is there in part.
    """
    folder = _folder(name)
    if lacking := fault(folder):
        raise MissingInput(f"backbone '{name}' is not whole ({lacking}); {remedy(name)}")
    return folder


def fault(folder: Path) -> str | None:
    """None for a folder with a configuration and all its weights, else a phrase that says what it lacks.

    Of the weights the headers are read: a file that is cut short, or lacks a tensor of the index, is found.
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
    """Tensors by file, as the index of a model in several files has them."""
    shards: dict[str, set[str]] = {}
    for tensor, file in json.loads((folder / INDEX).read_bytes())["weight_map"].items():
        shards.setdefault(file, set()).add(tensor)
    return shards


def refuse_changed(name: str) -> None:
    """Compare a backbone's files with what its folder records of them, once a process.

    UserError with the remedy where one was changed. What records nothing, or is not there, passes.
    """
    try:
        folder = _folder(name)
    except MissingInput:
        return
    for wrong in _changed(folder, name):
        raise UserError(f"backbone '{name}' is damaged ({wrong}): {remedy(name)}")


def hashed_files(folder: Path) -> list[Path]:
    """The files that a backbone's identity rests on: weights, configuration and tokenizer."""
    return [p for p in sorted(folder.iterdir()) if _hashed(p)]


def pinned_hashes(name: str) -> dict[str, str] | None:
    """The sha256 by file that `hashed_files` of a fetched folder would have, where it is not on this machine.

    None for every other backbone: what is pinned is known without it.
    """
    short = name.removeprefix("fetched/")
    if short == name or short not in pins().folders or Path(paths.backbone(name)).is_dir():
        return None
    pinned = folders.expected(pins().folders[short])
    return {file: value for file, value in sorted(pinned.items()) if _hashed(Path(file))}


def file_sha256(file: Path) -> str:
    """The sha256 of a file; of a large one once, while its size and its time stay: the models of `paper` are
    84 GB together.
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
        # The hub's client misses files that nobody here needs; which are needed, `fault` knows.
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
    """None for a safetensors file that is as long as its header says and has these tensors."""
    try:
        size = file.stat().st_size
        with open(file, "rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))  # the header: JSON behind its length
            if length > size:
                raise ValueError
            header = json.loads(content.read(length))
        header.pop("__metadata__", None)
        ends = [about["data_offsets"][1] for about in header.values()]
        whole = 8 + length + max(ends) == size
    except FileNotFoundError:
        return f"{file.name} is not in {file.parent}"
    except (OSError, struct.error, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        whole = False
    if not whole:
        return f"{file} is damaged or cut short"
    return None if tensors <= header.keys() else f"{file} lacks tensors that {INDEX} names"


def _changed(folder: Path, name: str) -> Iterator[str]:
    """A phrase for each file that is not the recorded one."""
    if name.startswith("fetched/"):
        short = name.removeprefix("fetched/")
        for file, pinned in (
            folders.expected(pins().folders[short]).items() if short in pins().folders else ()
        ):
            if not (folder / file).is_file() or file_sha256(folder / file) != pinned:
                yield f"{file} is not the pinned one"
        return
    record = folder / RECORD
    if record.is_file():
        try:
            sealed.read(record)
        except UserError as error:
            yield str(error).partition(";")[0]
    for hashed in hashed_files(folder):
        if hashed.is_symlink() and (blob := hashed.resolve()).parent.name == "blobs":
            if len(blob.name) == 64 and file_sha256(blob) != blob.name:
                yield f"{hashed.name} is not what the hub sent"
            if len(blob.name) == 40 and _git_sha1(blob) != blob.name:
                yield f"{hashed.name} is not what the hub sent"


def _git_sha1(file: Path) -> str:
    """The name that git, and so the hub, gives a small file."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
