"""Where the models and corpora of profile `paper` come from: `sources.yaml`, typed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from speechllm_bench.settings.strict import Strict, load_yaml

SOURCES = Path(__file__).with_name("sources.yaml")

Inside = Annotated[str, Field(pattern=r"^[A-Za-z0-9{][A-Za-z0-9_./{}-]*$")]
"""A path below a corpus's folder."""


class Source(Strict):
    """Terms and size of a model or a corpus. Sizes are of the download, rounded."""

    licence: str
    gated: bool = False  # its conditions have to be accepted on the hub first
    gib: float

    @property
    def terms(self) -> str:
        size = f", about {self.gib:g} GiB" if self.gib else ""
        return f"{self.licence}{', gated' if self.gated else ''}{size}"


class Archive(Strict):
    """A file by HTTP, kept as `to`; or a .tar.gz, of which some folders are wanted."""

    url: str
    to: Inside | None = None
    folders: dict[str, Inside] = Field(default_factory=dict)  # where a folder of the archive goes
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")  # as its publisher tells it

    @property
    def targets(self) -> list[str]:
        return [self.to] if self.to else list(self.folders.values())

    @model_validator(mode="after")
    def _either(self) -> Archive:
        if bool(self.to) == bool(self.folders):
            raise ValueError("a file has either `to` or, of an archive, `folders`")
        return self


class HubData(Strict):
    """One configuration of a data set of the hub, written out as its authors' own tables and recordings."""

    dataset: str
    config: str
    splits: dict[str, str]  # the published name of a split by the hub's
    table: Inside  # with {part} for the published name
    audio: Inside  # with {part}, and columns of the row


class Corpus(Source):
    """A corpus is fetched in parts, or by hand, which says how."""

    parts: list[Archive | HubData] = Field(default_factory=list)
    by_hand: str | None = None

    @model_validator(mode="after")
    def _either(self) -> Corpus:
        if bool(self.parts) == bool(self.by_hand):
            raise ValueError("a corpus has parts, or says under by_hand how it is fetched")
        return self


class Sources(Strict):
    """All of `sources.yaml`."""

    models: dict[str, Source]
    corpora: dict[str, Corpus]


@cache
def load_sources() -> Sources:
    return load_yaml(Sources, SOURCES)
