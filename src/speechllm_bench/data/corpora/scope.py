"""The scope of a corpus: its splits and gold. It determines which runs are testable (`data/testable.py`)."""

from __future__ import annotations

from dataclasses import dataclass

from speechllm_bench.storage.schema import Gold


@dataclass(frozen=True)
class Scope:
    """The scope of one corpus."""

    splits: tuple[str, ...]
    gold: tuple[frozenset[Gold], ...]  # fields that a turn has gold for, one set per source
    dialogue: bool  # whether turns have earlier turns of the dialogue as context
    recorded: bool  # whether people speak; a model could tell added synthetic speech from theirs by its sound
