"""What a corpus can be asked. What a plan leaves out as not testable follows from it (`data/testable.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from speechllm_bench.config import TaskName

EVERY_TASK = frozenset(get_args(TaskName))


@dataclass(frozen=True)
class Scope:
    """The limits of one corpus."""

    splits: tuple[str, ...]
    gold: tuple[frozenset[str], ...]  # the tasks that one turn has gold for, a set for each source
    dialogue: bool  # whether turns come before the one that is heard
    recorded: bool  # whether people speak: speech of a synthesiser beside theirs is told apart by its sound
