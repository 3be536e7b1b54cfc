"""Reads the slot types of a published corpus from its slots.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from speechllm_bench.settings.strict import Strict, load_yaml
from speechllm_bench.storage.schema import SlotType


class Slot(Strict):
    """One slot type in the file."""

    domain: str
    description: str
    open: bool
    ood: bool = False
    paraphrases: list[str]


class Slots(Strict):
    slots: dict[str, Slot]


@cache
def slot_types(file: Path) -> dict[str, SlotType]:
    """Return all slot types by name, in- and out-of-domain."""
    return {
        name: SlotType(name, slot.description, slot.open, slot.ood, slot.domain, tuple(slot.paraphrases))
        for name, slot in load_yaml(Slots, file).slots.items()
    }
