"""Generates the reference of the keys in a study's and a profile's YAML, from typed classes and comments."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from speechllm_bench.settings import (
    adapter_config,
    axes,
    config,
    evaluation_config,
    experiments,
    profiles,
    variants,
)

STUDY: dict[type[BaseModel], str] = {
    experiments.Study: "The file",
    axes.Value: "A value of an axis",
    variants.Variant: "A variant",
    variants.StageRecipe: "A stage",
    evaluation_config.Evaluation: "An evaluation",
    config.AnnotationConfig: "An annotation",
    config.ClassifierConfig: "A classifier",
    config.DistillationConfig: "A distillation",
    experiments.Reported: "A reported figure",
    experiments.ClaimConfig: "A claim",
}
PROFILE: dict[type[BaseModel], str] = {
    profiles.Profile: "The file of a profile",
    config.CorpusConfig: "A corpus",
    config.EncoderConfig: "An encoder",
    **{
        kind: f"An adapter of kind {get_args(kind.model_fields['kind'].annotation)[0]}"
        for kind in (
            adapter_config.CNNConfig,
            adapter_config.CNNXLConfig,
            adapter_config.LinearConfig,
            adapter_config.MLPConfig,
            adapter_config.TransformerConfig,
            adapter_config.PoolingConfig,
        )
    },
    config.LoraConfig: "LoRA",
    profiles.Budgets: "Budgets",
    profiles.WarmStart: "A warm start",
    profiles.Training: "Training",
    profiles.Decoding: "Decoding",
    profiles.PaperOwn: "Settings of one paper",
}
HEADINGS = STUDY | PROFILE
ADAPTER = adapter_config.CNNConfig.__mro__[1]  # the common base class
RESOLVED = {
    profiles.Training: config.StageConfig,
    profiles.Decoding: evaluation_config.EvaluationConfig,
}
"""Class of the YAML -> class of the run's configuration. Keys of the same name have the same meaning, and
their comment may be in either class.
"""
TASKS = get_args(evaluation_config.TaskName)
WORDS = {
    **{"None:": "null:", "False:": "false:", "True:": "true:"},
    **{"2510.15851": "the Slot filling paper", "2510.19326": "the Reasoning paper", "2509.04473": "SENSE"},
}
PLAIN = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    dict: "settings",
    NoneType: "null",
}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most", "min_length": "length at least"}


def sections(models: Iterable[type[BaseModel]]) -> str:
    return "\n\n".join(map(_section, models))


def _section(model: type[BaseModel]) -> str:
    known = [*reversed(RESOLVED.get(model, model).__mro__), *reversed(model.__mro__)]
    told = {name: text for cls in known for name, text in comments(cls).items()}
    said = inspect.cleandoc(vars(model).get("__doc__") or "")
    lines = [f"### {HEADINGS[model]}", "", *([said, ""] if said else [])]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        value = "; ".join([_type(field.annotation), *_bounds(field)])
        cells = (f"`{name}`", value, _default(field), told.get(name, ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    text = "\n".join(lines)
    for word, plain in WORDS.items():
        text = text.replace(word, plain)
    return text


def _type(kind: Any) -> str:
    origin, of = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(of[0])
    if origin in (Union, UnionType):
        if all(isinstance(one, type) and issubclass(one, ADAPTER) for one in of):
            return "an adapter of one kind below"
        return " or ".join(map(_type, of))
    if of == TASKS:
        return "[a task](glossary.md#tasks)"
    if origin is Literal:
        said = (str(one).lower() if isinstance(one, bool) else one for one in of)
        return ", ".join(f"`{one}`" if one != "" else "empty text" for one in said)
    if origin is list:
        return f"list of: {_type(of[0])}"
    if origin is dict:
        return f"by {'task' if get_origin(of[0]) is Literal else 'name'}: {_type(of[1])}"
    if kind in HEADINGS:
        return f"[{HEADINGS[kind].lower()}](#{HEADINGS[kind].lower().replace(' ', '-')})"
    return PLAIN.get(kind, "any")


def _bounds(field: FieldInfo) -> list[str]:
    rules = ((word, getattr(rule, name, None)) for rule in field.metadata for name, word in BOUNDS.items())
    return [f"{word} {bound}" for word, bound in rules if bound is not None]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, list | dict):
        return "empty"
    return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"


def comments(model: type) -> dict[str, str]:
    """Return field -> comment, from the comments behind and directly above the field in the source."""
    if not model.__module__.startswith("speechllm_bench"):
        return {}
    source = inspect.getsource(model)
    read = tokenize.generate_tokens(io.StringIO(source).readline)
    found = {
        t.start[0]: (t.string.lstrip("# "), not t.line[: t.start[1]].strip())
        for t in read
        if t.type == tokenize.COMMENT
    }
    told = {}
    (cls,) = ast.parse(source).body
    for node in cls.body if isinstance(cls, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = node.lineno
            while found.get(first - 1, ("", False))[1]:
                first -= 1
            texts = [found[line][0] for line in range(first, (node.end_lineno or first) + 1) if line in found]
            if texts:
                told[node.target.id] = " ".join(texts)
    return told
