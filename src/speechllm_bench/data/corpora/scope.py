"""The questions that a corpus can be asked. What a plan leaves out as not testable follows from it
(`data/testable.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from speechllm_bench.storage.schema import Gold


@dataclass(frozen=True)
class Scope:
    """The limits of one corpus."""

    splits: tuple[str, ...]
    gold: tuple[frozenset[Gold], ...]  # the fields that one turn has gold for, a set for each source
    dialogue: bool  # whether turns come before the one that is heard
    recorded: bool  # whether people speak: speech of a synthesiser beside theirs is told apart by its sound
