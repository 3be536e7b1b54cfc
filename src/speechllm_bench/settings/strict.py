"""Typed YAML: models that refuse what they do not know, each mistake told in one sentence."""

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

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # both are safe; libyaml's is many times faster


DEEPEST = 50  # blocks within blocks; libyaml's composer ends the process somewhere beyond 10,000
MOST_VALUES = 100_000  # of a file with every alias written out; the longest here has about 3,000

LONGEST_SHOWN = 300  # characters of a wrong value


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
"""What files, tables and web pages show as it is: a study, a variant, an adapter."""

Prose = Annotated[str, AfterValidator(_prose)]
"""A sentence that tables and web pages show."""


def refuse_repeated(names: Iterable) -> None:
    """ValueError where something stands twice in a list whose entries count once."""
    names = list(names)
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"{repeated[0]!r} stands twice in {names}; name it once")


class Strict(BaseModel):
    """Frozen; refuses unknown keys and does not convert types (an int passes for a float)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def read_yaml(path: Path):
    """What a YAML file says, as plain data; yaml.YAMLError where it is not readable."""
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str):
    """What a text in YAML says, as `read_yaml`."""
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
    """Before anything is composed: events come one by one, whatever they are nested in."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                line = event.start_mark.line + 1
                raise yaml.YAMLError(f"in line {line} blocks are nested more than {DEEPEST} deep")
        depth -= isinstance(event, yaml.CollectionEndEvent)


def _refuse_size(node: yaml.Node) -> None:
    """Aliases of aliases make a short file endless: all values are counted with the aliases written out."""
    sizes: dict[int, int | None] = {}  # None: below this node still something is counted
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
    """YAML itself would keep the last of them in silence."""
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
    """`change` laid over `base`: mappings are merged key by key, anything else is replaced.

    A mapping that names another `kind` replaces the whole, since the settings of one kind mean nothing to
    another. Laid over a list of things that have a `name`, a mapping changes those that it names, the last
    one as `last`; ValueError for a name that the list lacks.
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
    """A YAML file as `model`; UserError for a missing, unreadable or wrong one."""
    return checked(model, content_of(path), path.name)


def content_of(path: Path):
    """What a YAML file says, as plain data; UserError for a missing or unreadable one."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise UserError(f"there is no {path.name} in {path.parent.name}/; known there: {known}")
    try:
        return read_yaml(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is not readable YAML: {' '.join(str(error).split())}") from None


def checked(model: type[Strict], content, where: str, written: Written = lambda key: key):
    """`content` as `model`; UserError with key, value and what is allowed.

    `written`: from a key of the model to the path in the file that it was read from.
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
    if not error["loc"] and error["type"] == "value_error":  # its value would be the whole file
        return why
    sentence = f"key '{key}' has value {_shown(error['input'])}: {why}"
    if error["type"] == "float_type" and isinstance(error["input"], str):
        sentence += " (YAML reads 1e-4 as text; write 1.0e-4)"
    return sentence


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _located(model: type[BaseModel], loc: tuple) -> tuple[tuple, type[BaseModel]]:
    """The key as it is written, and the model that it belongs to.

    Pydantic's `loc` also names the chosen member of a union by kind, which no file does.
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
    """An annotation without `| None` and without what stands beside it in `Annotated`."""
    if get_origin(annotation) is Annotated:
        return _one(get_args(annotation)[0])
    some = [a for a in get_args(annotation) if a is not type(None)]
    if get_origin(annotation) in (Union, UnionType) and len(some) == 1:
        return _one(some[0])
    return annotation


def _members(annotation) -> tuple:
    """The models of a union; none of anything else."""
    if get_origin(annotation) not in (Union, UnionType):
        return ()
    return tuple(a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, BaseModel))


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return get_args(field.annotation)[0] if field else None
