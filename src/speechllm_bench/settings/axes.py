"""Axes: what a study's variants differ in. A grid of their values unfolds into variants that know theirs.

`experiments/shared/axes.yaml` has the values that several studies name; a study's own lie over them.
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
Marker = Literal["o", "s", "^", "v", "D", "h", "P", "<", ">", "X", "p", "d", "*", "8", "H", "|", "x"]
BLOCK = ("name", "label", "set")  # keys of a grid's block that are no axes
ALONE = "variant"  # the axis of variants that a study names one by one


class Value(Strict):
    """One value of an axis: what it changes of a study's base, and how it is shown."""

    label: Prose | None = None  # in legends; None: its key
    name: Literal[""] | Name | None = None  # its part of a variant's name; None: its key
    colour: Colour | None = None  # None: one that no other value of the axis has
    marker: Marker | None = None
    set: dict[str, Any] = Field(default_factory=dict)  # settings, laid over the base block

    def over(self, other: Value) -> Value:
        """This value where it says something, and the other one elsewhere."""
        return other.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


Axes = Mapping[str, Mapping[str, Value]]


class Place(NamedTuple):
    """A variant's place among the axes of its study."""

    name: str
    label: str
    axes: dict[str, str]  # by axis, the key of its value there
    changes: dict[str, Any]  # what it changes of the base block
    sources: tuple[tuple[tuple[str | int, ...], Mapping], ...]  # where in the file that is written


class _Shared(Strict):
    axes: dict[Name, dict[Name, Value]]


def known(own: Axes) -> dict[str, dict[str, Value]]:
    """A study's axes laid over the shared ones."""
    found = {axis: dict(values) for axis, values in _shared(paths.AXES).items()}
    for axis, values in own.items():
        shared = found.setdefault(axis, {})
        found[axis] |= {key: v.over(shared[key]) if key in shared else v for key, v in values.items()}
    return found


def order(grid: Sequence[Mapping], names: str | None) -> list[str]:
    """The axes of a grid: those of the template of names first, then in the order of the blocks."""
    told = [field for _, field in _parts(names or "") if field]
    return list(dict.fromkeys([*told, *(axis for block in grid for axis in block if axis not in BLOCK)]))


def unfolded(
    own: Axes, grid: Sequence[Mapping], names: str | None = None, labels: str | None = None
) -> list[Place]:
    """The variants of a grid, in its order; ValueError for what it cannot mean.

    A block of the grid names a value, a list of values or `all` (the study's own) of each of its axes, and
    stands for each combination, the first axis outermost. Later axes lie over earlier ones, and the block's
    own `set` over all. names, labels: templates as "{adapter}_{test_set}", in which an axis that a block
    leaves out takes what stands before it along; a block's own `name` and `label` go before them.
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
    """Where in the file a key of a variant is written: in the last of what it changes, or in the base."""
    for where, own in reversed(place.sources):
        replaced = bool(key) and isinstance(own.get(key[0]), list)  # the list below
        changed = (
            len(key) > 1 and isinstance(key[1], int) and isinstance(own.get(key[0]), dict)
        )  # a part of it
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
    """The place of a variant that a study names by itself, outside its grid."""
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
    """What a value is called in legends."""
    return key.replace("_", " ") if value is None or value.label is None else value.label


def filled(template: str, parts: Mapping[str, str]) -> str:
    """The template with the parts in their places; what stands before a part that is missing goes with it."""
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
    """ValueError where a block's own keys are not what they have to be."""
    for key, kind, said in (("name", str, "text"), ("label", str, "text"), ("set", dict, "a mapping")):
        if not isinstance(block.get(key, kind()), kind):
            raise ValueError(f"key 'grid.{i}.{key}' has value {block[key]!r}: it is {said}")


def _keys(values: Axes, own: Axes, axis: str, told: object, i: int) -> list[str]:
    """The values of an axis that a block names."""
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
