"""What all corpora of recorded speech have in common. A corpus is a subclass of `Recorded`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np

from speechllm_bench.data.corpora.published import file_hash, published_file
from speechllm_bench.errors import UserError
from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.storage.schema import Gold, SlotType, Utterance


@dataclass(frozen=True)
class Scope:
    """What can be asked of a corpus. It determines which runs are testable (`data/testable.py`)."""

    splits: tuple[str, ...]
    gold: tuple[frozenset[Gold], ...]  # fields that a turn has gold for, one set per source
    dialogue: bool  # whether turns have earlier turns of the dialogue as context
    recorded: bool  # whether people speak; a model could tell added synthetic speech from theirs by its sound


class Recorded(ABC):
    """A corpus of recorded speech, in the folder of its name below the one that SPEECHLLM_BENCH_DATA names.

    Files are read when they are needed. Missing ones raise MissingInput, and faulty ones UserError.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"  # raise it with every change of the reader that changes an utterance
    gold: ClassVar[tuple[Gold, ...]] = ()
    splits: ClassVar[Iterable[str]]
    dialogue: ClassVar[bool] = False
    slots: ClassVar[Path | None] = None  # YAML file of the slot types
    published: ClassVar[Mapping[str, int | None]] = {}  # sizes of the corpus's parts; None: not published

    @abstractmethod
    def turns(self, split: str) -> Iterable[Utterance]:
        """Return all utterances of a split."""

    @abstractmethod
    def recording(self, utterance: Utterance) -> np.ndarray:
        """Return samples (n,) at 16 kHz. Raises UserError for a missing or unreadable file."""

    @abstractmethod
    def files(self) -> object:
        """Return hashes of all that the utterances depend on. `corpus.json` has those of the audio."""

    @abstractmethod
    def size(self, part: str) -> int:
        """Return the number of entries of a part of the corpus, to compare with the published one."""

    def utterances(self, split: str, n: int | None = None) -> list[Utterance]:
        """Return the first n utterances of a split (None: all). Raises UserError for an unknown split."""
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise UserError(f"corpus '{self.name}' has no split '{split}'; its splits are: {known}")
        return self.first(split, n)

    def first(self, split: str, n: int | None) -> list[Utterance]:
        return list(islice(self.turns(split), n))

    def slot_types(self) -> dict[str, SlotType]:
        return _slot_types(self.slots) if self.slots else {}

    def recipe(self) -> dict:
        slots = {"slots": file_hash(self.slots)} if self.slots else {}
        return {"corpus": self.name, "reader": self.version, **slots, "files": self.files()}

    def counts(self) -> dict[str, tuple[int, int | None]]:
        """Return the actual and the published size by part."""
        return {part: (self.size(part), n) for part, n in self.published.items()}

    @property
    def sources(self) -> tuple[frozenset[Gold], ...]:
        return (frozenset(self.gold),)

    @property
    def scope(self) -> Scope:
        return Scope(tuple(self.splits), self.sources, self.dialogue, recorded=True)

    def file(self, name: str) -> Path:
        return published_file(self.name, name)


class Tabled(Recorded):
    """A corpus with one file of annotations per split."""

    @abstractmethod
    def table(self, split: str) -> Path:
        """Return the file of a split's annotations."""

    def files(self) -> dict[str, str]:
        return {split: file_hash(self.table(split)) for split in self.splits}


@cache
def _slot_types(file: Path) -> dict[str, SlotType]:
    return {
        name: SlotType(
            name,
            slot["description"],
            slot["open"],
            slot.get("ood", False),
            slot["domain"],
            tuple(slot["paraphrases"]),
        )
        for name, slot in read_yaml(file)["slots"].items()
    }
