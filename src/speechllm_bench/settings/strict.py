"""Strictly typed YAML: models refuse unknown keys and wrong types and report each mistake in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from speechllm_bench.errors import UserError

Written = Callable[[Sequence[str | int]], Sequence[str | int]]

_LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # both loaders are safe; libyaml's is many times faster


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
    _refuse_depth(text)
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_size(node)
        _refuse_repeated_keys(node)
        return loader.construct_document(node)
    except (ValueError, LookupError, AttributeError) as error:  # PyYAML's own, of 2020-13-45, 0x_, !!bool x
        raise yaml.YAMLError(f"it holds a value that cannot be read ({error})") from None
    finally:
        loader.dispose()


def _refuse_depth(text: str) -> None:
    """Raise yaml.YAMLError for deep nesting, before composing: events come one by one at any depth."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                line = event.start_mark.line + 1
                raise yaml.YAMLError(f"in line {line} blocks are nested more than {DEEPEST} deep")
        depth -= isinstance(event, yaml.CollectionEndEvent)


def _refuse_size(node: yaml.Node) -> None:
    """Raise yaml.YAMLError for too many values. Aliases count as expanded: a short file may be endless."""
    sizes: dict[int, int | None] = {}  # None: the values below this node are still being counted
    waiting = [(node, False)]
    while waiting:
        node, counted = waiting.pop()
        children = _children(node)
        line = node.start_mark.line + 1
        if counted:
            size = 1 + sum(sizes[id(child)] or 0 for child in children)
            sizes[id(node)] = size
            if size > MOST_VALUES:
                raise yaml.YAMLError(
                    f"the block that begins in line {line} has more than {MOST_VALUES:,} values with its "
                    "aliases written out"
                )
        elif id(node) not in sizes:
            sizes[id(node)] = None
            waiting += [(node, True), *((child, False) for child in children)]
        elif sizes[id(node)] is None:
            raise yaml.YAMLError(f"the block that begins in line {line} holds itself by an alias")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return node.value
    return [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else []


def _refuse_repeated_keys(node: yaml.Node) -> None:
    """Raise yaml.YAMLError for a repeated key, since YAML itself would silently keep the last one."""
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        names = [key.value for key, _ in node.value]
        if repeated := [name for name in names if names.count(name) > 1]:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"key '{repeated[0]}' stands twice in the block that begins in line {line}")
        waiting += [value for _, value in node.value]


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
        if members := [member for member in _members(annotation) if _kind(member) == part]:
            annotation = owner = members[0]
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
    if get_origin(annotation) is Annotated:
        return _one(get_args(annotation)[0])
    some = [a for a in get_args(annotation) if a is not type(None)]
    if get_origin(annotation) in (Union, UnionType) and len(some) == 1:
        return _one(some[0])
    return annotation


def _members(annotation) -> tuple:
    """Return the models of a union; empty for any other annotation."""
    if get_origin(annotation) not in (Union, UnionType):
        return ()
    return tuple(a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, BaseModel))


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return get_args(field.annotation)[0] if field else None
