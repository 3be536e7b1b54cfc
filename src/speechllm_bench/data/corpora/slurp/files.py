"""SLURP's annotation and prediction files (Bastianelli et al. 2020, CC BY 4.0): JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from speechllm_bench.errors import UserError

Key = Literal["file", "slurp_id"]
"""How the items of a prediction file are named: by recording, or by sentence."""

GOLD_KEYS = ("scenario", "action", "tokens", "entities", "recordings")


def read_gold(path: Path, by: Key = "file") -> dict[str, dict]:
    """Gold by recording file: `intent` as scenario_action, and `entities` of `type` and `filler`.

    A sentence was recorded several times; each recording is an item, or each sentence by its `slurp_id`. The
    intent scored is made of scenario and action, since the file's own field `intent` differs from them in
    places. A filler is the lower-cased words of the entity's span, which lists all its token indices.
    """
    gold: dict[str, dict] = {}
    for row in rows(path, *GOLD_KEYS, *([by] if by == "slurp_id" else [])):
        words = [token["surface"].lower() for token in row["tokens"]]
        entities = [
            {"type": entity["type"], "filler": " ".join(words[i] for i in entity["span"])}
            for entity in row["entities"]
        ]
        answer = {"intent": f"{row['scenario']}_{row['action']}", "entities": entities}
        names = [recording["file"] for recording in row["recordings"]]
        gold |= dict.fromkeys(names if by == "file" else [str(row["slurp_id"])], answer)
    return gold


def read_predictions(path: Path) -> dict[str, dict]:
    """A system's answers by item, as `read_gold` gives them; fillers are left untouched.

    Items are recording files, or sentences by `slurp_id` where the first line names that alone: published
    systems that read gold transcripts (`gold_*_predictions.jsonl`) answer each sentence once. Of an item
    answered twice the last answer stands, as in SLURP's program.
    """
    found = rows(path, "scenario", "action", "entities")
    by = "slurp_id" if "slurp_id" in found[0] and "file" not in found[0] else "file"
    if lacking := [number for number, row in enumerate(found, start=1) if by not in row]:
        raise UserError(f"{path.name}, line {lacking[0]}: no {by}; is it a SLURP file?")
    return {
        str(row[by]): {"intent": f"{row['scenario']}_{row['action']}", "entities": row["entities"]}
        for row in found
    }


def rows(path: Path, *keys: str) -> list[dict]:
    """The JSON objects of a file, one a line, each with these keys; UserError names a line that is not so."""
    found = []
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # JSON may hold other line ends
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            raise UserError(f"{path.name}, line {number}: not readable JSON; fetch the file again") from None
        if not isinstance(found[-1], dict):
            raise UserError(f"{path.name}, line {number}: not a JSON object; is it a SLURP file?")
        if missing := [key for key in keys if key not in found[-1]]:
            raise UserError(f"{path.name}, line {number}: no {', '.join(missing)}; is it a SLURP file?")
    return found
