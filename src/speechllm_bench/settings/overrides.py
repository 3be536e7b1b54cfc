"""Overrides: single settings of a profile, named by dotted path, such as `lora.rank: 16`.

A path leads through the resolved profile, `experiments/profiles/*.yaml`: `training.lr`, `decoding.beams`,
`budgets.slots`, `adapters.mlp.width`. A study's variants list overrides in their YAML. On the command line,
`--set lora.rank=16` turns the named profile into a new one. The new name contains the settings,
`mini+lora.rank=16`, so its results have a folder of their own and every process can resolve it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

import yaml

from speechllm_bench.errors import UserError
from speechllm_bench.settings.strict import overlay, parse_yaml

Settings = Mapping[str, object]
KEY = re.compile(r"[\w.-]+")
LONGEST = 200  # characters of a profile's name; file systems allow 255 bytes


def parse(assignments: Iterable[str]) -> Settings:
    """Return settings of the command line, each `key=value`. Values are JSON, YAML or plain text."""
    found: dict[str, object] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not KEY.fullmatch(key):
            raise UserError(f"--set has the form key=value, as lora.rank=16, got {text!r}")
        if re.search("[\ud800-\udfff]", value):  # how Python shows bytes of the command line
            raise UserError(f"--set {key} has a value that is not UTF-8 text: {value!r}")
        if key in found:
            raise UserError(f"--set names '{key}' twice")
        found[key] = _parsed(value)
    return found


def base_profile(name: str) -> str:
    """Return the name of a profile without its settings: `mini` for `mini+lora.rank=16`."""
    return name.partition("+")[0]


def with_settings(name: str, settings: Settings) -> str:
    """Return the name of a profile with further settings. They replace its settings of the same path."""
    base, own = split(name)
    told = [f"{key}={_told(value)}" for key, value in sorted({**own, **settings}.items())]
    whole = "+".join([base, ",".join(told)]) if told else base
    if len(whole) > LONGEST:
        raise UserError(
            f"--set has too many settings for the name of a folder ({len(whole)} characters, {LONGEST} at "
            f"most); write a profile that says `extend: {base}` and these settings"
        )
    return whole


def split(name: str) -> tuple[str, dict[str, object]]:
    """Return profile and settings of a name that `with_settings` made. Raises UserError for other forms."""
    base, plus, told = name.partition("+")
    settings = {}
    for part in told.split(",") if plus else ():
        key, equals, value = part.partition("=")
        if not equals or not KEY.fullmatch(key) or part != f"{key}={_told(_read(value))}":
            raise UserError(
                f"'{name}' is no name of a profile with settings; write --profile {base} --set ..."
            )
        settings[key] = _read(value)
    return base, settings


def _parsed(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        found = parse_yaml(value)
        json.dumps(found)
    except (yaml.YAMLError, TypeError):  # TypeError: JSON has no such type, such as a date
        return value
    return value if found is None else found


def _told(value: object) -> str:
    """Return a value as part of a name, percent-encoded: plain text unless it reads as JSON, else JSON."""
    if isinstance(value, str) and _read(quote(value, safe="")) == value:
        return quote(value, safe="")
    return quote(json.dumps(value, sort_keys=True), safe="")


def _read(told: str) -> object:
    text = unquote(told)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def replaced(content: dict, settings: Settings, where: str) -> dict:
    """Return `content`, plain data, with the settings applied. `content` itself is not changed.

    A mapping is merged into the existing one. Raises UserError if a key before the last one is unknown.
    The model of `content` checks the last key and its value.
    """
    for path, value in settings.items():
        *parents, last = path.split(".")
        _refuse_missing(content, parents, where)
        change = {last: value}
        for parent in reversed(parents):
            change = {parent: change}
        content = overlay(content, change)
    return content


def _refuse_missing(content: dict, parents: list[str], where: str) -> None:
    place = content
    for depth, parent in enumerate(parents):
        path = ".".join(parents[: depth + 1])
        if parent not in place:
            raise UserError(f"{where}: unknown key '{path}'; there are: {', '.join(place)}")
        place = {} if place[parent] is None else place[parent]
        if not isinstance(place, dict):
            raise UserError(f"{where}: key '{path}' is a value, {place!r}, and has no settings of its own")
