"""Which question is put to which utterance: drawn anew each epoch in training, fixed in evaluation."""

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
    """A task drawn by its share, with context, distractors and order drawn for this seed and epoch.

    Only tasks that the utterance has gold for are drawn.

    described: the share of questions that describe their slots, of tasks that can.
    stored: questions with their traces, by utterance id. Where slots are asked for and there is a stored one,
    its question is the one that is put, in every epoch, with its trace or without.
    labels: entities by utterance id that are learned in place of gold.
    style: of the prompt (`RunConfig.prompt`). UserError for a stored question that was put in another style.
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
    # Of a generator of its own: the rest of the question is the same with descriptions and without.
    draw = random.Random(f"described/{seed}/{epoch}/{utterance.id}").random
    if "wording" in task.asking and described and draw() < described:
        asking["wording"] = "described"
    put = task.example(utterance, Draw(slot_types, rng, training=True, style=style), **asking)
    example = _whole(put, utterance, rng, style)
    if labels and task.labelled:
        return replace(example, target=task.labelled(labels[utterance.id]))
    return example


def with_gold(utterances: Sequence[Utterance], tasks: Iterable[str], n: int | None = None) -> list[Utterance]:
    """The first n (None: all) that can be asked at least one of these tasks; UserError where none can."""
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
    """The same question for every run, seed and variant: what makes comparisons paired.

    style: of the prompt (`RunConfig.prompt`); it changes no draw.
    asking: fixes of a question for slots what is drawn otherwise (`EvaluationConfig.asking`).
    """
    rng = random.Random(f"evaluation/{utterance.id}")
    example = TASKS[task].example(utterance, Draw(slot_types, rng, ood, style=style), **asking)
    return _whole(example, utterance, rng, style)


def _whole(example: Example, utterance: Utterance, rng: random.Random, style: PromptStyle | None) -> Example:
    """A task's question with its system turn and, where it is asked aloud, in a voice."""
    if example.instruction:
        example = replace(
            example, instruction=spoken_instructions.voiced(example.instruction, utterance.split, rng)
        )
    return replace(example, system=SYSTEM[style])
