"""Annotation of a profile's training turns by an OpenAI-compatible server.

Later trainings read the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from speechllm_bench.data import corpora, questions
from speechllm_bench.data.annotators import Annotated, Question, Request, api, entities, stored
from speechllm_bench.data.annotators.client import Client, Server
from speechllm_bench.planning import studies
from speechllm_bench.running import preparation, runner
from speechllm_bench.storage import paths
from speechllm_bench.tasks import ner, slots, transcription


def annotate(what: Literal["traces", "labels"], named: str, n_turns: int) -> str:
    """Write traces or entity labels of `n_turns` training turns of a profile. Return the report to show.

    The questions are those of a first epoch of training with seed 0. Answers are cached, so the same turns
    cost nothing a second time. Raises UserError where no server is named or it does not answer.
    """
    server = Server.from_environment()
    profile = next(  # with the corpus of the paper whose study reads the annotations
        profile
        for study, profile in (studies.load(name, named) for name in studies.known_studies())
        if study.annotates == what
    )
    request: Request[Any]
    write: Callable[[Sequence[Question], Annotated, str], str]
    train = preparation.ensure_corpus(profile.corpus, runner.cores()).utterances("train")
    types = corpora.slot_types(profile.corpus.name)
    if what == "traces":
        task, request, write = slots.NAME, api.TRACES, stored.write_traces
        turns = questions.with_gold(train, [task], n_turns)
    else:  # from turns with a transcript: LibriSpeech has no gold entities (2509.04473, method)
        shots = entities.few_shots(questions.with_gold(train, [ner.NAME]))
        task, request, write = ner.NAME, entities.request(shots), stored.write_labels
        turns = questions.with_gold(train, [transcription.NAME], n_turns)
        turns = [replace(turn, gold=(*turn.gold, "entities")) for turn in turns]
    style = profile.prompt if what == "traces" else None  # entities.py has its own prompt
    asked = [Question(u, questions.training_example(u, types, {task: 1.0}, 0, 0, style=style)) for u in turns]
    client = Client(server, paths.cache() / "annotations")
    annotated = api.Api[Any](client, request).annotate(asked)
    name = write(asked, annotated, f"{server.model} at {client.where}")
    right, file = sum(a is not None for a in annotated.answers), stored.file(what, name)
    where = 'the profile, under papers, "2510.19326"' if what == "traces" else "the profile"
    return "\n".join(
        [
            f"{right} of {len(asked)} turns have {what}: {paths.shown(file)}; cost: {annotated.cost}.",
            *(f"rejected, {fault}: {n}" for fault, n in annotated.rejected.most_common()),
            *([f"To train on them, write `{what}: {name}` into {where}."] if right else []),
        ]
    )
