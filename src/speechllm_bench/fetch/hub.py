"""Downloads models of the Hugging Face hub (safetensors, configuration, tokenizer) into the hub's own cache.

The cache keeps whole files, so a stopped download continues with the file at which it was stopped.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from speechllm_bench.errors import UserError

HASHED = {".safetensors", ".json", ".jinja", ".model"}
"""Suffixes of the files that determine a backbone's identity (`backbones.hashed_files`)."""

KEPT = HASHED | {".txt"}  # .txt: vocabulary and merges of older tokenizers
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class Model:
    """A model as it is on the hub now."""

    name: str
    files: tuple[str, ...]  # the files to download
    size: int  # of these files, in bytes
    licence: str | None
    gated: bool


def look_up(name: str) -> Model:
    """Return the hub's information about a model, without a download.

    Raises UserError if the hub cannot be reached, does not know the model, or has no safetensors of it.
    """
    from huggingface_hub import HfApi

    with told(name):
        info = HfApi().model_info(name, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings if _is_wanted(file.rfilename)}
    if SINGLE in sizes:  # other weight files are the same weights in another form
        sizes = {file: n for file, n in sizes.items() if file == SINGLE or not _is_weights(file)}
    if not any(map(_is_weights, sizes)):
        raise UserError(f"{name} has no safetensors on the hub, and this suite loads nothing else")
    licence = (info.card_data or {}).get("license") if info.card_data else None
    return Model(name, tuple(sizes), sum(sizes.values()), licence, bool(info.gated))


def admitted(model: Model) -> bool:
    """Whether this user may download the model: it is not gated, or its conditions have been accepted."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError

    if not model.gated:
        return True
    try:
        with told(model.name, but=GatedRepoError):
            HfApi().auth_check(model.name)
    except GatedRepoError:
        return False
    return True


def download(model: Model) -> Path:
    """Download a model and return its folder in the hub's cache, with all shards of its index.

    The model is asked for by its name alone. Of a revision that is asked for by its hash the cache keeps no
    name, so it would not be found by name afterwards.
    Raises UserError if the download fails. A shard of the index that the hub lacks is an error before any
    weights are downloaded.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    with told(model.name):
        if INDEX in model.files and SINGLE not in model.files:
            index = hf_hub_download(model.name, INDEX)
            _check_index(model, Path(index))
        folder = snapshot_download(model.name, allow_patterns=list(model.files))
    return Path(folder)


def _check_index(model: Model, index: Path) -> None:
    try:
        shards = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise UserError(f"{INDEX} of {model.name} is damaged on the hub; nothing was downloaded") from None
    if lacking := sorted(shards - set(model.files)):
        raise UserError(
            f"the hub has no {lacking[0]} of {model.name}, which {INDEX} names; nothing was downloaded"
        )


def _is_wanted(file: str) -> bool:
    """Whether a file is downloaded. Subfolders of a model contain other forms of it, such as `original/`."""
    path = PurePosixPath(file)
    return len(path.parts) == 1 and path.suffix in KEPT


def _is_weights(file: str) -> bool:
    return file.endswith(".safetensors")


@contextlib.contextmanager
def told(name: str, kind: str = "", but: type[Exception] | tuple = ()) -> Iterator[None]:
    """Convert errors of the hub's client to UserError with one sentence.

    kind: "datasets/" for a data set, "" for a model. but: exceptions that pass unchanged.
    """
    from huggingface_hub import errors

    page = f"https://huggingface.co/{kind}{name}"
    try:
        yield
    except but:
        raise
    except errors.GatedRepoError:
        raise UserError(refused([page])) from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"the hub has no {name}, or hides it from you; correct the name, or log in") from None
    except (
        errors.OfflineModeIsEnabled,
        errors.LocalEntryNotFoundError,
        ConnectionError,
        TimeoutError,
    ) as error:
        raise UserError(_unreachable(name, error)) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        raise UserError(f"the hub answered {status} for {name}; start again later") from None
    except errors.HTTPError as error:  # of the HTTP client: no connection, or a broken one
        raise UserError(_unreachable(name, error)) from None


def refused(pages: list[str]) -> str:
    """Return the error sentence for gated pages whose conditions are not accepted yet."""
    return (
        f"the hub wants its conditions accepted first; do so at {' and '.join(pages)}, log in with "
        "`hf auth login` or set HF_TOKEN, and start again: what has been fetched stays"
    )


def _unreachable(name: str, error: Exception) -> str:
    why = str(error).strip().split("\n")[0] or type(error).__name__
    return (
        f"the hub cannot be reached for {name} ({why}); start again with a network and without "
        "HF_HUB_OFFLINE: what has been fetched stays"
    )
