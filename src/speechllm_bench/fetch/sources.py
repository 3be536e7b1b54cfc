"""Typed content of `sources.yaml`, which lists the origins of profile `paper`'s models and corpora."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from speechllm_bench.settings.strict import Strict, load_yaml

SOURCES = Path(__file__).with_name("sources.yaml")

Inside = Annotated[str, Field(pattern=r"^[A-Za-z0-9{][A-Za-z0-9_./{}-]*$")]
"""A path below a corpus's folder."""


class Source(Strict):
    """Terms and size of a model or a corpus. The size is that of the download, rounded."""

    licence: str
    gated: bool = False  # its conditions have to be accepted on the hub first
    gib: float

    @property
    def terms(self) -> str:
        size = f", about {self.gib:g} GiB" if self.gib else ""
        return f"{self.licence}{', gated' if self.gated else ''}{size}"


class Archive(Strict):
    """A file by HTTP, stored as `to`; or a .tar.gz, from which some folders are extracted."""

    url: str
    to: Inside | None = None
    folders: dict[str, Inside] = Field(default_factory=dict)  # folder in the archive -> target path
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")  # published by its author

    @property
    def targets(self) -> list[str]:
        return [self.to] if self.to else list(self.folders.values())


class HubData(Strict):
    """One configuration of a data set of the hub, to be written in its authors' own layout."""

    dataset: str
    config: str
    splits: dict[str, str]  # the hub's name of a split -> the authors' name
    table: Inside  # path with {part} for the authors' name
    audio: Inside  # path with {part} and columns of the row


class Corpus(Source):
    """A corpus. It is fetched in `parts`, or by hand as `by_hand` explains."""

    parts: list[Archive | HubData] = Field(default_factory=list)
    by_hand: str | None = None


class Sources(Strict):
    """The content of `sources.yaml`."""

    models: dict[str, Source]
    corpora: dict[str, Corpus]


@cache
def load_sources() -> Sources:
    return load_yaml(Sources, SOURCES)
