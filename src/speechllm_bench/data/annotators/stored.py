"""Traces on disk: one JSON a line, in a file that is named after what it holds.

A profile that names such a file trains on its traces, and the name is part of its runs' digests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from speechllm_bench import paths, runs
from speechllm_bench.data.annotators import Annotated, Question
from speechllm_bench.data.tasks import trace
from speechllm_bench.data.tasks.trace import Trace
from speechllm_bench.errors import UserError
from speechllm_bench.schema import Example


def file(name: str) -> Path:
    return paths.cache() / "traces" / f"{name}.jsonl"


def write(questions: Sequence[Question], annotated: Annotated[Trace]) -> str:
    """Store the questions that have a trace; returns the name."""
    lines = [
        json.dumps({"question": asdict(question.example), "trace": trace.write(found)}, ensure_ascii=False)
        for question, found in zip(questions, annotated.answers, strict=True)
        if found
    ]
    text = "".join(f"{line}\n" for line in lines)
    name = sha256(text.encode()).hexdigest()[:16]
    runs.write_text(file(name), text)
    return name


def read(name: str) -> dict[str, tuple[Example, Trace]]:
    """Question and trace by utterance id; UserError where they are missing or not what the name says."""
    if not file(name).is_file():
        raise UserError(
            f"the traces '{name}' that the profile names are not in {file(name).parent}; write them with "
            "`speechllm-bench annotate` and give the profile the name it tells"
        )
    text = file(name).read_text(encoding="utf-8")
    if sha256(text.encode()).hexdigest()[:16] != name:
        raise UserError(f"{file(name)} has been changed since it was written; write it again")
    records = [json.loads(line) for line in text.splitlines()]
    questions = [Example(**r["question"] | {"asked": tuple(r["question"]["asked"])}) for r in records]
    return {q.utterance_id: (q, trace.parse(r["trace"])) for q, r in zip(questions, records)}
