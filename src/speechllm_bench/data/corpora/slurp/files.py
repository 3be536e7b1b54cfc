"""SLURP's annotation and prediction files (Bastianelli et al. 2020, CC BY 4.0): JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

from speechllm_bench.errors import UserError

GOLD_KEYS = ("scenario", "action", "tokens", "entities", "recordings")


def read_gold(path: Path) -> dict[str, dict]:
    """Gold by recording file: `intent` as scenario_action, and `entities` of `type` and `filler`.

    A sentence was recorded several times; each recording is an item. The intent scored is made of
    scenario and action, since the file's own field `intent` differs from them in places. A filler is
    the lower-cased words of the entity's span, which lists all its token indices.
    """
    gold = {}
    for row in rows(path, *GOLD_KEYS):
        words = [token["surface"].lower() for token in row["tokens"]]
        entities = [
            {"type": entity["type"], "filler": " ".join(words[i] for i in entity["span"])}
            for entity in row["entities"]
        ]
        answer = {"intent": f"{row['scenario']}_{row['action']}", "entities": entities}
        gold |= {recording["file"]: answer for recording in row["recordings"]}
    return gold


def read_predictions(path: Path) -> dict[str, dict]:
    """A system's answers by recording file, as `read_gold` gives them; fillers are left untouched."""
    return {
        row["file"]: {"intent": f"{row['scenario']}_{row['action']}", "entities": row["entities"]}
        for row in rows(path, "file", "scenario", "action", "entities")
    }


def rows(path: Path, *keys: str) -> list[dict]:
    """The JSON objects of a file, one a line, each with these keys; UserError names a line that is not so."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except ValueError:
            raise UserError(f"{path.name}, line {number}: not readable JSON; fetch the file again") from None
        if missing := [key for key in keys if key not in found[-1]]:
            raise UserError(f"{path.name}, line {number}: no {', '.join(missing)}; is it a SLURP file?")
    return found
