"""SLURP's gold and published predictions by item, for parity with its own program."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from speechllm_bench.data.corpora.slurp import GOLD_KEYS, rows
from speechllm_bench.errors import UserError

Key = Literal["file", "slurp_id"]
"""How the items of a prediction file are named: by recording, or by sentence."""


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
