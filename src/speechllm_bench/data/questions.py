"""Draws the question for an utterance: anew in each epoch of training, and fixed in evaluation."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from speechllm_bench.data.corpora import spoken_instructions
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Example, SlotType, Utterance
from speechllm_bench.tasks import TASKS
from speechllm_bench.tasks.prompt import SYSTEM, PromptStyle
from speechllm_bench.tasks.task import Draw
from speechllm_bench.tasks.trace import Trace


def training_example(
    utterance: Utterance,
    slot_types: Mapping[str, SlotType],
    shares: Mapping[str, float],
    seed: int,
    epoch: int,
    described: float | None = None,
    stored: Mapping[str, tuple[Example, Trace]] | None = None,
    labels: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    style: PromptStyle | None = None,
) -> Example:
    """Return a question of a drawn task, with context, distractors and order drawn for this seed and epoch.

    The task is drawn by its share, among those that the utterance has gold for.

    described: share of the questions with descriptions of the slots, in tasks that support them.
    stored: questions with their traces, by utterance id. A drawn task on slots uses the stored question in
    every epoch, with its trace or without.
    labels: entities by utterance id, as target in place of gold.
    style: style of the prompt (`RunConfig.prompt`). Raises UserError for a stored question of another style.
    """
    rng = random.Random(f"{seed}/{epoch}/{utterance.id}")
    names = sorted(name for name in shares if TASKS[name].can_ask(utterance))
    task = TASKS[rng.choices(names, [shares[name] for name in names])[0]]
    if stored and utterance.id in stored and task.put:
        question, trace = stored[utterance.id]
        if question.system != SYSTEM[style]:
            raise UserError(
                "the questions of the stored traces are worded in another style than the profile's "
                f"prompt: {style or 'null'}; write them anew with `speechllm-bench annotate traces`"
            )
        return task.put(question, trace, style)
    asking: dict = {}
    # Its own generator, so that the rest of the question does not depend on descriptions.
    draw = random.Random(f"described/{seed}/{epoch}/{utterance.id}").random
    if "wording" in task.asking and described and draw() < described:
        asking["wording"] = "described"
    put = task.example(utterance, Draw(slot_types, rng, training=True, style=style), **asking)
    example = _whole(put, utterance, rng, style)
    if labels and task.labelled:
        return replace(example, target=task.labelled(labels[utterance.id]))
    return example


def with_gold(utterances: Sequence[Utterance], tasks: Iterable[str], n: int | None = None) -> list[Utterance]:
    """Return the first n (None: all) with gold for at least one task. Raises UserError if none has any."""
    tasks = list(tasks)
    found = list(islice((u for u in utterances if any(TASKS[task].can_ask(u) for task in tasks)), n))
    if not found and n != 0:
        raise UserError(
            f"no utterance of the corpus has gold for {' or '.join(tasks)}; choose another corpus or task"
        )
    return found


def evaluation_example(
    utterance: Utterance,
    slot_types: Mapping[str, SlotType],
    task: str,
    ood: bool = False,
    style: PromptStyle | None = None,
    **asking,
) -> Example:
    """Return the question for an evaluation. It is the same in every run, so comparisons are paired.

    style: style of the prompt (`RunConfig.prompt`); it changes no draw.
    asking: fixed values of what is otherwise drawn (`EvaluationConfig.asking`).
    """
    rng = random.Random(f"evaluation/{utterance.id}")
    example = TASKS[task].example(utterance, Draw(slot_types, rng, ood, style=style), **asking)
    return _whole(example, utterance, rng, style)


def _whole(example: Example, utterance: Utterance, rng: random.Random, style: PromptStyle | None) -> Example:
    """Return a task's question with its system turn and, for a spoken instruction, a drawn voice."""
    if example.instruction:
        example = replace(
            example, instruction=spoken_instructions.voiced(example.instruction, utterance.split, rng)
        )
    return replace(example, system=SYSTEM[style])
