"""Typed YAML: models that refuse what they do not know, each mistake told in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from speechllm_bench.errors import UserError

Written = Callable[[Sequence[str | int]], Sequence[str | int]]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # both are safe; libyaml's is many times faster


class Strict(BaseModel):
    """Frozen; refuses unknown keys and does not convert types (an int passes for a float)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def read_yaml(path: Path):
    """What a YAML file says, as plain data; yaml.YAMLError where it is not readable."""
    loader = _LOADER(path.read_text(encoding="utf-8"))
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_repeated_keys(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


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
    another.
    """
    merged = dict(base)
    for key, value in change.items():
        old = base.get(key)
        both = isinstance(value, dict) and isinstance(old, dict)
        alike = both and value.get("kind", old.get("kind")) == old.get("kind")
        merged[key] = overlay(old, value) if alike else value
    return merged


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


def _sentence(model: type[Strict], error: dict, written: Written) -> str:
    loc, owner = _located(model, error["loc"])
    key = ".".join(str(part) for part in written(loc)) or "file"
    if error["type"] == "extra_forbidden":
        return (
            f"unknown key '{key}' (value {error['input']!r}); allowed here: {', '.join(owner.model_fields)}"
        )
    if error["type"] == "union_tag_not_found":
        return f"key '{key}.{error['ctx']['discriminator'].strip(chr(39))}' is missing"
    if error["type"] == "union_tag_invalid":
        name, tag = error["ctx"]["discriminator"].strip("'"), error["ctx"]["tag"]
        return f"key '{key}.{name}' has value {tag!r}: allowed are {error['ctx']['expected_tags']}"
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    why = error["msg"].removeprefix("Value error, ")
    if not error["loc"] and error["type"] == "value_error":  # its value would be the whole file
        return why
    sentence = f"key '{key}' has value {error['input']!r}: {why}"
    if error["type"] == "float_type" and isinstance(error["input"], str):
        sentence += " (YAML reads 1e-4 as text; write 1.0e-4)"
    return sentence


def _located(model: type[BaseModel], loc: tuple) -> tuple[tuple, type[BaseModel]]:
    """The key as it is written, and the model that it belongs to.

    Pydantic's `loc` also names the chosen member of a union by kind, which no file does.
    """
    annotation, kept, owner = model, [], model
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
