"""Answers of an annotator on disk: a JSONL file whose name is the hash of its content.

A profile that names such a file trains on it, and the name is part of its runs' digests. A record next to it
says who wrote it and how many answers were usable. The runs' records include this record.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Literal

from speechllm_bench.data.annotators import Annotated, Question
from speechllm_bench.data.annotators.entities import Labels
from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.schema import Example
from speechllm_bench.tasks import trace
from speechllm_bench.tasks.trace import Trace

Kind = Literal["traces", "labels"]


def file(kind: Kind, name: str) -> Path:
    return paths.cache() / kind / f"{name}.jsonl"


def write_traces(questions: Sequence[Question], annotated: Annotated[Trace], by: str) -> str:
    """Store the questions that have a trace, and a record of their annotator. Return the name."""
    found = zip(questions, annotated.answers, strict=True)
    records = [{"question": _question(q.example), "trace": trace.write(t)} for q, t in found if t]
    return _write("traces", records, _about(annotated, by))


def read_traces(name: str) -> dict[str, tuple[Example, Trace]]:
    """Return question and trace by utterance id. Raises UserError if the file is missing or has changed."""
    records = _read("traces", name)
    questions = [Example(**r["question"] | {"asked": tuple(r["question"]["asked"])}) for r in records]
    return {q.utterance_id: (q, trace.parse(r["trace"])) for q, r in zip(questions, records)}


def write_labels(questions: Sequence[Question], annotated: Annotated[Labels], by: str) -> str:
    """Store the entities of the turns that an annotator labelled, unfiltered. Return the name."""
    found = zip(questions, annotated.answers, strict=True)
    records = [{"turn": q.utterance.id, "labels": some} for q, some in found if some is not None]
    return _write("labels", records, _about(annotated, by))


def read_labels(name: str) -> dict[str, list[tuple[str, str]]]:
    """Return (tag, phrase) of each entity by utterance id. Raises UserError as `read_traces` does."""
    return {r["turn"]: [(tag, phrase) for tag, phrase in r["labels"]] for r in _read("labels", name)}


def about(kind: Kind, name: str) -> dict | None:
    """Return the record: annotator, number of questions and answers, rejections, cost. None: no record."""
    beside = file(kind, name).with_suffix(".json")
    remedy = f"delete this file and write it again with `speechllm-bench annotate {kind}`"
    return sealed.read(beside, remedy) if beside.is_file() else None


def _question(example: Example) -> dict:
    """Return a question as plain JSON. An empty system turn is left out, which keeps older names valid."""
    return {key: value for key, value in asdict(example).items() if key != "system" or value}


def _about(annotated: Annotated, by: str) -> dict:
    right = sum(answer is not None for answer in annotated.answers)
    about = {"by": by, "asked": len(annotated.answers), "right": right}
    return about | {"rejected": dict(annotated.rejected.most_common()), "cost": annotated.cost}


def _write(kind: Kind, records: list[dict], about: dict) -> str:
    text = "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)
    name = sha256(text.encode()).hexdigest()[:16]
    runs.write_text(file(kind, name), text)
    beside = file(kind, name).with_suffix(".json")
    if not beside.is_file():  # a repeated annotation costs nothing, so the first record has the cost
        sealed.write(beside, about, {})
    return name


def _read(kind: Kind, name: str) -> list[dict]:
    stored = file(kind, name)
    if not stored.is_file():
        raise UserError(
            f"the {kind} '{name}' that the profile names are not in {stored.parent}; write them with "
            f"`speechllm-bench annotate {kind}` and put the name that it prints in the profile"
        )
    content = stored.read_bytes()
    if sha256(content).hexdigest()[:16] != name:
        raise UserError(
            f"{stored} has been changed since it was written; delete it and write it again with "
            f"`speechllm-bench annotate {kind}`"
        )
    lines = content.decode().split("\n")  # not `splitlines`: JSON strings may contain other line ends
    return [json.loads(line) for line in lines if line]


def learned_traces(config: RunConfig) -> dict[str, tuple[Example, Trace]]:
    """Return a run's training traces by utterance id. Raises UserError if they or its labels are missing."""
    for stage in config.stages:
        if stage.annotation and stage.annotation.stored:
            read_labels(stage.annotation.stored)
    names = sorted({stage.traces for stage in config.stages if stage.traces})
    return {id: found for name in names for id, found in read_traces(name).items()}


def annotators_of(config: RunConfig) -> dict[str, dict | None]:
    """Return the records (`about`) of the stored traces and labels that a run trains on, by name."""
    named: dict[str, Kind] = {stage.traces: "traces" for stage in config.stages if stage.traces}
    named |= {s.annotation.stored: "labels" for s in config.stages if s.annotation and s.annotation.stored}
    return {name: about(kind, name) for name, kind in named.items()}
