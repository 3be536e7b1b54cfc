"""A finding of an audit about one checked item."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """A finding. `part` is its row in the report's table. `wrong` says what is wrong and what to do.

    `unchecked`: nothing records what the item should be.
    """

    part: str
    wrong: str | None = None
    unchecked: bool = False
