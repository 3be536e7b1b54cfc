"""Axes: the properties in which a study's variants differ. A grid of axis values expands into variants.

`experiments/shared/axes.yaml` defines values that several studies use. A study's own values override them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from string import Formatter
from typing import Any, Literal, NamedTuple

from pydantic import Field

from speechllm_bench.settings.strict import Name, Prose, Strict, load_yaml, overlay
from speechllm_bench.storage import paths

Colour = Literal["blue", "red", "green", "orange", "sky", "purple", "black", "grey"]
Marker = Literal["o", "s", "^", "v", "D", "h", "P", "<", ">", "X", "p", "d", "*", "|", "x"]
BLOCK = ("name", "label", "set")  # keys of a grid block that are not axes
ALONE = "variant"  # axis of the variants that a study lists one by one, outside its grid


class Value(Strict):
    """One value of an axis: the settings that it changes in a study's base, and its look in figures."""

    label: Prose | None = None  # in legends; None: the value's key
    name: Literal[""] | Name | None = None  # its part of a variant's name; None: the value's key
    colour: Colour | None = None  # None: a colour that no other value of the axis has
    marker: Marker | None = None
    set: dict[str, Any] = Field(default_factory=dict)  # settings that override those of the base block

    def over(self, other: Value) -> Value:
        """Return this value, with its unset fields taken from `other`."""
        return other.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


Axes = Mapping[str, Mapping[str, Value]]


class Place(NamedTuple):
    """A variant, with its value on each axis and the settings that follow from them."""

    name: str
    label: str
    axes: dict[str, str]  # axis -> key of the variant's value
    changes: dict[str, Any]  # settings that override those of the base block
    sources: tuple[tuple[tuple[str | int, ...], Mapping], ...]  # path in the file and content, by source


class _Shared(Strict):
    axes: dict[Name, dict[Name, Value]]


def known(own: Axes) -> dict[str, dict[str, Value]]:
    """Return the shared axes, overridden by a study's own ones."""
    found = {axis: dict(values) for axis, values in _shared(paths.AXES).items()}
    for axis, values in own.items():
        shared = found.setdefault(axis, {})
        found[axis] |= {key: v.over(shared[key]) if key in shared else v for key, v in values.items()}
    return found


def order(grid: Sequence[Mapping], names: str | None) -> list[str]:
    """Return the axes of a grid: first those in the template of names, then the others in block order."""
    told = [field for _, field in _parts(names or "") if field]
    return list(dict.fromkeys([*told, *(axis for block in grid for axis in block if axis not in BLOCK)]))


def unfolded(
    own: Axes, grid: Sequence[Mapping], names: str | None = None, labels: str | None = None
) -> list[Place]:
    """Return the variants of a grid, in its order. Raises ValueError for an invalid grid.

    For each of its axes a block names one value, a list of values or `all` (the study's own values). It
    makes a variant for each combination; the first axis varies slowest. Later axes override earlier ones,
    and the block's own `set` overrides all. names, labels: templates such as "{adapter}_{test_set}". An
    axis that a block leaves out is dropped with the text before it. A block's own `name` and `label`
    replace the templates.
    """
    values, found, axes = known(own), {}, order(grid, names)
    names = names or "_".join(f"{{{axis}}}" for axis in axes)
    labels = labels or ", ".join(f"{{{axis}}}" for axis in axes)
    for i, block in enumerate(grid):
        for place in _of_block(values, own, block, i, names, labels):
            if place.name in found:
                raise ValueError(f"grid.{i} makes the variant '{place.name}' a second time; name it apart")
            found[place.name] = place
    return list(found.values())


def written_at(place: Place, base: Mapping, key: Sequence[str | int]) -> tuple[str | int, ...]:
    """Return the path in the file of a variant's key: in the last source that changes it, or in the base."""
    for where, own in reversed(place.sources):
        # A list replaces the whole list of the base; a mapping changes some of its items (`overlay`).
        replaced = bool(key) and isinstance(own.get(key[0]), list)
        changed = len(key) > 1 and isinstance(key[1], int) and isinstance(own.get(key[0]), dict)
        if _has(own, key) or replaced or changed:
            return (*where, *key)
    return ("base", *key) if _has(base, key) else (*place.sources[0][0], *key)


def _has(place: Any, key: Sequence[str | int]) -> bool:
    for part in key:
        in_list = isinstance(place, list) and isinstance(part, int) and part < len(place)
        if not (part in place if isinstance(place, dict) else in_list):
            return False
        place = place[part]
    return True


def alone(name: str, changes: Mapping[str, Any]) -> Place:
    """Return the place of a variant that a study lists by itself, outside its grid."""
    sources = ((("variants", name), changes),)
    return Place(name, label(name), {ALONE: name}, dict(changes), sources)


def _of_block(values: Axes, own: Axes, block: Mapping, i: int, names: str, labels: str) -> Iterator[Place]:
    _check(block, i)
    axes = {axis: _keys(values, own, axis, told, i) for axis, told in block.items() if axis not in BLOCK}
    for combination in product(*axes.values()):
        keys = dict(zip(axes, combination, strict=True))
        chosen = {axis: values[axis][key] for axis, key in keys.items()}
        named = {axis: keys[axis] if v.name is None else v.name for axis, v in chosen.items()}
        shown = {axis: label(keys[axis], v) for axis, v in chosen.items()}
        sources: list[tuple[tuple, dict[str, Any]]] = [
            (_source(own, axis, key), values[axis][key].set) for axis, key in keys.items()
        ]
        sources.append((("grid", i, "set"), block.get("set", {})))
        changes: dict[str, Any] = {}
        for _, settings in sources:
            changes = overlay(changes, settings)
        name = filled(block.get("name", names), named)
        if not name:
            raise ValueError(f"grid.{i} makes a variant without a name of {keys}; give the block a name")
        called = filled(block.get("label", labels), shown) or label(name)
        yield Place(name, called, keys, changes, tuple(sources))


def label(key: str, value: Value | None = None) -> str:
    """Return the text that legends show for the value of an axis."""
    return key.replace("_", " ") if value is None or value.label is None else value.label


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Return the template with its fields filled. A missing field is dropped with the text before it."""
    text = ""
    for n, (before, field) in enumerate(_parts(template)):
        part = parts.get(field, "") if field else ""
        if part or not field:
            text += (before if text or n == 0 else "") + part
    return text


def _parts(template: str) -> list[tuple[str, str | None]]:
    try:
        return [(before, field) for before, field, *_ in Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(f"'{template}' is no template as '{{adapter}}_{{test_set}}': {error}") from None


def _check(block: Mapping, i: int) -> None:
    """Raise ValueError where a block's `name`, `label` or `set` has the wrong type."""
    for key, kind, said in (("name", str, "text"), ("label", str, "text"), ("set", dict, "a mapping")):
        if not isinstance(block.get(key, kind()), kind):
            raise ValueError(f"key 'grid.{i}.{key}' has value {block[key]!r}: it must be {said}")


def _keys(values: Axes, own: Axes, axis: str, told: object, i: int) -> list[str]:
    """Return the keys of the values that a block names on an axis. Raises ValueError for an unknown one."""
    there_are = ", ".join(values.get(axis, ())) or "none"
    if told == "all" and axis in own:
        return list(own[axis])
    keys = told if isinstance(told, list) else [told]
    for key in keys:
        if not isinstance(key, str) or key not in values.get(axis, ()):
            raise ValueError(
                f"key 'grid.{i}.{axis}' has value {key!r}: no value of axis '{axis}'; there are: {there_are}"
            )
    return [str(key) for key in keys]


def _source(own: Axes, axis: str, key: str) -> tuple[str, ...]:
    file = () if "set" in (own.get(axis, {}).get(key, Value())).model_fields_set else ("shared/axes.yaml",)
    return (*file, "axes", axis, key, "set")


@cache
def _shared(file: Path) -> dict[str, dict[str, Value]]:
    return load_yaml(_Shared, file).axes
