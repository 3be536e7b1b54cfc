"""Strictly typed YAML: models refuse unknown keys and wrong types and report each mistake in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from speechllm_bench.errors import UserError

Written = Callable[[Sequence[str | int]], Sequence[str | int]]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # both are safe; libyaml's is many times faster

_UNIONS = (Union, UnionType)
DEEPEST = 50  # nested blocks; libyaml's composer crashes the process somewhere beyond 10,000
MOST_VALUES = 100_000  # values of a file with all aliases expanded; the longest file here has about 3,000
LONGEST_SHOWN = 300  # characters of a wrong value in an error message


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", text):
        raise ValueError(
            "a name holds letters, digits and _ . + - alone, and begins with a letter or a digit"
        )
    return text


def _prose(text: str) -> str:
    if found := re.search(r"<[A-Za-z/!?]|[\x00-\x08\x0b-\x1f]", text):
        raise ValueError(f"text holds no markup and no control characters, but here is {found[0]!r}")
    return text


Name = Annotated[str, AfterValidator(_name)]
"""Name of a study, a variant or an adapter. Files, tables and web pages use it unchanged."""

Prose = Annotated[str, AfterValidator(_prose)]
"""Text that tables and web pages show."""


def refuse_repeated(names: Iterable) -> None:
    """Raise ValueError if an entry occurs twice in a list."""
    names = list(names)
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"{repeated[0]!r} stands twice in {names}; name it once")


class Strict(BaseModel):
    """A frozen model. It refuses unknown keys and does not convert types, except an int to a float."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def read_yaml(path: Path):
    """Return the content of a YAML file as plain data. Raises yaml.YAMLError if it is not readable."""
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str):
    """Return the content of a text in YAML as plain data. Raises yaml.YAMLError if it is not readable."""
    _refuse_hostile(text)
    loader = _LOADER(text)
    try:
        return loader.get_single_data()
    except (ValueError, LookupError, AttributeError) as error:  # PyYAML's own, of 2020-13-45, 0x_, !!bool x
        raise yaml.YAMLError(f"it holds a value that cannot be read ({error})") from None
    finally:
        loader.dispose()


@dataclass
class _Block:
    """A block of YAML that is being read."""

    start: yaml.CollectionStartEvent
    values: int = 1  # with all aliases expanded
    parts: int = 0  # keys count as well
    keys: set[str] = field(default_factory=set)

    @property
    def named(self) -> str:
        return f"the block that begins in line {self.start.start_mark.line + 1}"

    def add(self, event: yaml.Event, values: int) -> None:
        is_key = isinstance(self.start, yaml.MappingStartEvent) and not self.parts % 2
        if is_key and isinstance(event, yaml.ScalarEvent):
            if event.value in self.keys:
                raise yaml.YAMLError(f"key '{event.value}' stands twice in {self.named}")
            self.keys.add(event.value)
        self.values, self.parts = self.values + values, self.parts + 1


def _refuse_hostile(text: str) -> None:
    """Raise yaml.YAMLError for deep nesting, for a repeated key and for too many values, before composing.

    YAML itself would silently keep the last of repeated keys. Aliases count as expanded: a short file may be
    endless. Events come one by one at any depth.
    """
    sizes: dict[str | None, int] = {}  # number of values by anchor
    open_: list[_Block] = []
    for event in yaml.parse(text, Loader=_LOADER):
        values = 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append(block := _Block(event))
            if len(open_) > DEEPEST:
                line = event.start_mark.line + 1
                raise yaml.YAMLError(f"in line {line} blocks are nested more than {DEEPEST} deep")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            block = open_.pop()
            values = sizes[block.start.anchor] = block.values
            if values > MOST_VALUES:
                told = f"has more than {MOST_VALUES:,} values with its aliases written out"
                raise yaml.YAMLError(f"{block.named} {told}")
        if isinstance(event, yaml.AliasEvent):
            values = sizes.get(event.anchor, 1)
            if inside := [block for block in open_ if block.start.anchor == event.anchor]:
                raise yaml.YAMLError(f"{inside[0].named} holds itself by an alias")
        if open_:
            open_[-1].add(event, values)


def overlay(base: dict, change: dict) -> dict:
    """Return `base` overridden by `change`: mappings are merged key by key, other values are replaced.

    A mapping with another `kind` replaces the whole mapping, since each kind has its own settings. If `base`
    has a list of items with a `name`, a mapping in `change` overrides the items that its keys name; `last` is
    the last item. Raises ValueError for a name that the list lacks.
    """
    merged = dict(base)
    for key, value in change.items():
        old: Any = base.get(key)
        if isinstance(value, dict) and _named(old):
            merged[key] = _with_changes(key, old, value)
            continue
        merged[key] = value
        both = isinstance(value, dict) and isinstance(old, dict)
        if both and value.get("kind", old.get("kind")) == old.get("kind"):
            merged[key] = overlay(old, value)
    return merged


def _named(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) and "name" in v for v in value)


def _with_changes(key: str, things: list[dict], change: dict) -> list[dict]:
    names, things = [thing["name"] for thing in things], list(things)
    for name, value in change.items():
        if name not in (*names, "last") or not isinstance(value, dict):
            known = ", ".join(map(str, names))
            raise ValueError(
                f"key '{key}.{name}' has value {_shown(value)}: {key} to change are: {known}, last"
            )
        place = len(names) - 1 if name == "last" else names.index(name)
        things[place] = overlay(things[place], value)
    return things


def load_yaml(model: type[Strict], path: Path):
    """Return a YAML file as `model`. Raises UserError for a missing, unreadable or invalid file."""
    return checked(model, content_of(path), path.name)


def content_of(path: Path):
    """Return the content of a YAML file as plain data. Raises UserError for a missing or unreadable file."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise UserError(f"there is no {path.name} in {path.parent.name}/; known there: {known}")
    try:
        return read_yaml(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is not readable YAML: {' '.join(str(error).split())}") from None


def checked(model: type[Strict], content, where: str, written: Written = lambda key: key):
    """Return `content` as `model`. Raises UserError with the key, its value and what is allowed.

    `written`: maps a key of the model to its path in the file.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        told = (_sentence(model, e, written) for e in error.errors())
        raise UserError(f"{where}: {'; '.join(told)}") from None


def _sentence(model: type[Strict], error: Mapping, written: Written) -> str:
    loc, owner = _located(model, error["loc"])
    key = ".".join(str(part) for part in written(loc) if part != "[key]") or "file"
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(owner.model_fields)
        return f"unknown key '{key}' (value {_shown(error['input'])}); allowed here: {allowed}"
    if error["type"] == "union_tag_not_found":
        return f"key '{key}.{error['ctx']['discriminator'].strip(chr(39))}' is missing"
    if error["type"] == "union_tag_invalid":
        name, tag = error["ctx"]["discriminator"].strip("'"), error["ctx"]["tag"]
        return f"key '{key}.{name}' has value {_shown(tag)}: allowed are {error['ctx']['expected_tags']}"
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    why = error["msg"].removeprefix("Value error, ")
    if not error["loc"] and error["type"] == "value_error":  # the value would be the whole file
        return why
    sentence = f"key '{key}' has value {_shown(error['input'])}: {why}"
    if error["type"] == "float_type" and isinstance(error["input"], str):
        sentence += " (YAML reads 1e-4 as text; write 1.0e-4)"
    return sentence


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _located(model: type[BaseModel], loc: tuple) -> tuple[tuple, type[BaseModel]]:
    """Return the key as the file writes it, and the model that it belongs to.

    Pydantic's `loc` also contains the kind of a union's chosen member, which is no key of the file.
    """
    annotation: Any = model
    kept, owner = [], model
    for part in loc:
        annotation = _one(annotation)
        if member := _of_kind(annotation, part):
            annotation = owner = member
            continue
        kept.append(part)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            owner = annotation
            annotation = annotation.model_fields[part].annotation if part in annotation.model_fields else None
        else:  # a mapping or a list
            annotation = (get_args(annotation) or (None,))[-1]
    return tuple(kept), owner


def _one(annotation):
    """Return an annotation without `| None` and without the metadata of `Annotated`."""
    some = [a for a in get_args(annotation) if a is not type(None)]
    if get_origin(annotation) is Annotated or (get_origin(annotation) in _UNIONS and len(some) == 1):
        return _one(some[0])
    return annotation


def _of_kind(annotation, kind) -> type[BaseModel] | None:
    """Return the model of a union that has this `kind`."""
    models = get_args(annotation) if get_origin(annotation) in _UNIONS else ()
    kinds = {
        get_args(model.model_fields["kind"].annotation)[0]: model for model in models if _has_kind(model)
    }
    return kinds.get(kind)


def _has_kind(member) -> bool:
    return isinstance(member, type) and issubclass(member, BaseModel) and "kind" in member.model_fields
