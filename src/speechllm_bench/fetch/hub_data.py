"""Writes data sets of the hub in their authors' own layout: a table and recordings for each split.

So one reader works for the authors' own folders and for downloads from the hub. The bytes of recordings are
kept unchanged, even if they do not match the suffix of the file name.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.fetch.hub import told
from speechllm_bench.fetch.sources import HubData
from speechllm_bench.storage import runs

Load = Callable[[HubData, str], Iterable[dict]]
"""Returns the rows of a split. `audio` of a row contains the `bytes` of its recording."""


def take(data: HubData, folder: Path, load: Load | None = None) -> None:
    """Write the tables and recordings of all splits below `folder`. A split with a table is kept.

    Raises UserError if the data set cannot be downloaded or has other columns.
    """
    for split, part in data.splits.items():
        table = folder / data.table.format(part=part)
        if not table.exists():
            with told(data.dataset, "datasets/"):
                rows = (load or hub_rows)(data, split)
                _write(data, part, rows, table, folder)


def hub_rows(data: HubData, split: str) -> Iterable[dict]:
    """Return the rows of a split with the library `datasets`, which caches its downloads."""
    import datasets
    from huggingface_hub import HfApi

    HfApi().auth_check(data.dataset, repo_type="dataset")  # its errors are clearer than those of `datasets`
    found = datasets.load_dataset(data.dataset, data.config, split=split)
    return found.cast_column("audio", datasets.Audio(decode=False))


def _write(data: HubData, part: str, rows: Iterable[dict], table: Path, folder: Path) -> None:
    """Write a split. The table comes last, since its presence means that all recordings are there."""
    file, writer = io.StringIO(), None
    for row in rows:
        audio = row.pop("audio", None)
        try:
            name = data.audio.format(part=part, **row | ends(row))
            content = audio["bytes"]
        except (KeyError, TypeError):
            raise UserError(
                f"the data set {data.dataset} ({data.config}) has other columns than this suite knows: "
                f"{', '.join(row)}; its authors may have changed it"
            ) from None
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"the data set {data.dataset} ({data.config}) names a recording outside its folder: {name}"
            )
        _keep(folder / name, content)
        if writer is None:
            writer = csv.DictWriter(file, list(row), delimiter="\t", lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: cell(value) for name, value in row.items()})
    runs.write_text(table, file.getvalue())


def _keep(path: Path, content: bytes) -> None:
    if not path.is_file() or path.stat().st_size != len(content):
        runs.write_bytes(path, content, lasting=False)


def ends(row: Mapping) -> dict:
    """Return the end of a part of a call in milliseconds (`end_ms`), which no column contains; else {}."""
    try:
        return {"end_ms": int(row["start_ms"]) + int(row["duration_ms"])}
    except (KeyError, TypeError, ValueError):
        return {}


def cell(value: object) -> str:
    """Return a value as in the authors' tables. Lists of records become nested lists: [['GPE', 30, 4]]."""
    if isinstance(value, Mapping):  # lists by field, which is how `datasets` returns a list of records
        value = [list(record) for record in zip(*value.values(), strict=True)]
    elif isinstance(value, list):
        value = [list(one.values()) if isinstance(one, Mapping) else one for one in value]
    return "" if value is None else re.sub(r"[\t\r\n]+", " ", str(value))
