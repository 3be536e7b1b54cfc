"""The stored copy of an executed notebook: figures and Opus clips stay. Widgets, progress bars and machine
paths do not.
"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

from speechllm_bench.storage import paths

WIDGET = "application/vnd.jupyter.widget-view+json"
AUDIO_TAG = re.compile(r"<audio.*?</audio>", re.DOTALL)
BAR = re.compile(r".*\d+%\|.*\n?")  # a line of a progress bar
OPUS = "data:audio/ogg;"  # a turn takes 7 kB; uncompressed samples take 130 kB


def clean(notebook: dict) -> dict:
    """Remove other audio than Opus, widgets, progress bars and machine paths from a notebook, in place.

    Returns it. Papermill's metadata is removed too, because it calls cells completed that never ran.
    """
    notebook["metadata"].pop("papermill", None)
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("papermill", None)
        if cell["cell_type"] == "code":
            shown = [output for output in cell["outputs"] if WIDGET not in output.get("data", {})]
            cleaned = [_clean_output(output) for output in shown]
            cell["outputs"] = [output for output in cleaned if output.get("text") != ""]
    return notebook


def _clean_output(output: dict) -> dict:
    if "data" in output:
        return output | {"data": {kind: _clean_data(kind, data) for kind, data in output["data"].items()}}
    if output.get("name") == "stderr":
        output = output | {"text": BAR.sub("", "".join(output["text"]))}
    return {k: _without_paths(v) for k, v in output.items()}


def _clean_data(kind: str, data):
    if kind == "text/html":
        return AUDIO_TAG.sub(_without_samples, "".join(data))
    return data if kind.startswith("image/") else _without_paths(data)


def _without_samples(player: re.Match) -> str:
    return player[0] if OPUS in player[0] else "<em>[audio: run the notebook to hear it]</em>"


def _without_paths(value):
    if isinstance(value, list):
        return [_without_paths(entry) for entry in value]
    if not isinstance(value, str):
        return value
    value = re.sub(r"\S*/ipykernel_\d+/", "ipykernel/", value)
    places = {sys.prefix: "python", paths.home(): ".", paths.PROJECT: "."}
    with contextlib.suppress(RuntimeError):  # a container's user may have no home folder
        places[Path.home()] = "~"
    for place, name in places.items():
        value = value.replace(str(place), name)
    return value
