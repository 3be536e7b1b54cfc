"""Training stages of a SpeechLLM. Each stage starts from the weights of the stage before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from speechllm_bench.data import questions
from speechllm_bench.data.annotators.labels import train_labels as annotated
from speechllm_bench.evaluation import score
from speechllm_bench.models.adapters import build_adapter, mean_norm
from speechllm_bench.models.audio_llm import language_parts, load_audio_llm
from speechllm_bench.models.bf16 import computes_in_bf16
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.devices import device
from speechllm_bench.models.inputs import Batch, collate, n_targets, prompt_tokens
from speechllm_bench.models.llm import load_llm, load_tokenizer, with_lora
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.settings.config import RunConfig, StageConfig, TaskName
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.tasks import TASKS, USUAL
from speechllm_bench.training import distillation, schedule
from speechllm_bench.training.accumulation import Parts
from speechllm_bench.training.ahead import Ahead
from speechllm_bench.training.ctc_stage import WarmStart, padding
from speechllm_bench.training.loop import FitResult, fit
from speechllm_bench.training.regulariser import Regulariser
from speechllm_bench.training.stage_data import Data, Seen, present, shifted
from speechllm_bench.training.tracking import Follower

Asked = tuple[schedule.Pair, dict[TaskName, float]]
"""A turn in an epoch, and the shares of tasks; one of the tasks is drawn for the turn."""


def build_model(config: RunConfig, d_encoder: int | None) -> tuple[SpeechLLM, PreTrainedTokenizerBase]:
    """Return the untrained SpeechLLM of a run and its tokenizer.

    The initial LoRA weights and the initial adapter each depend on the run's seed only. An audio LLM has its
    own adapter. d_encoder: the width D of encoder frames; None for a text LLM.
    """
    torch.manual_seed(config.seed)
    adapter = None
    if config.audio_llm:
        llm, adapter = language_parts(load_audio_llm(config.audio_llm, config.precision))
        llm, adapter = with_lora(llm, config.lora), adapter.float()  # bf16 would round small updates away
    else:
        llm = load_llm(config.llm, config.lora, config.precision)
    torch.manual_seed(config.seed)  # again, so that the adapter is the same with LoRA and without
    if config.adapter:
        assert d_encoder is not None, "an adapter needs the width of frames"
        embeddings = llm.get_input_embeddings().weight
        norm = mean_norm(embeddings) if config.adapter.scaled else 1.0
        adapter = build_adapter(config.adapter, d_encoder, embeddings.shape[1], norm)
    model = SpeechLLM(llm, adapter, computes_in_bf16(config.precision, device())).to(device())
    model.refuse_other_logits(name := config.audio_llm or config.llm)
    return model, load_tokenizer(name)


def train_stage(
    config: RunConfig,
    index: int,
    model: SpeechLLM,
    tokenizer: PreTrainedTokenizerBase,
    data: Data,
    checkpoint: Path,
    progress: Callable[[float], None] = lambda share: None,
    follow: Follower | None = None,
) -> tuple[FitResult, Seen]:
    """Train stage `index` of `model` in place; return the fit and the amounts of data that were seen."""
    stage = config.stages[index]
    data = replace(data, frames=None) if stage.reads else data
    place = model.llm.device
    for task in stage.taught:
        questions.with_gold(data.train, [task], 1)  # raises UserError where no turn has gold for the task
    train = questions.with_gold(data.train, stage.taught)
    labels = None
    if stage.annotation:  # entities can be asked of turns that the annotator labelled, even without gold
        labels = annotated(data.train, stage.annotation, config.seed)
        found = [turn for turn in data.train if turn.id in labels]
        train = [t if "entities" in t.gold else replace(t, gold=(*t.gold, "entities")) for t in found]
    train = train[: math.ceil(len(train) * (stage.train_share or 1))]  # a prefix, so shares are nested
    positions = {"padded": 0, "all": 0}  # of all batches, also of those before a resumed training stopped

    def example(asked: Asked, gold: bool = False) -> Example:
        (item, epoch), tasks = asked
        stored = data.traces if stage.traces else None
        return questions.training_example(
            train[item], data.slot_types, tasks, config.seed, epoch, stage.described, stored,
            None if gold else labels, config.prompt,
        )  # fmt: skip

    def heard(places: Sequence[int]) -> dict[str, Any]:
        found = data.heard([turns[i] for i in places], stage.text, [examples[i] for i in places])
        if limit := stage.frame_shift:  # drawn by example, so equal for a batch and its parts
            pairs = zip(found["frames"], places, strict=True)
            found["frames"] = [shifted(frames, limit, [config.seed, index, i]) for frames, i in pairs]
        return found

    def collated(places: Sequence[int]) -> list[Batch]:
        """Return the batch of these examples and, for distillation, that of the teacher, who reads."""
        given = [heard(places)]
        if stage.distillation:
            given.append({"transcripts": [turns[i].transcript for i in places]})
        chosen, lengths = [examples[i] for i in places], model.speech_tokens
        return [collate(tokenizer, chosen, **g, speech_tokens=lengths, with_answer=True) for g in given]

    def count(padded: int, whole: int) -> None:
        positions["padded"] += padded
        positions["all"] += whole

    def loss(places: Sequence[int]) -> dict[str, torch.Tensor]:
        model.train()
        heard_of = [turns[i] for i in places]
        if warm_start:
            frames = heard(places)["frames"]
            count(*padding(frames))
            return warm_start.loss(heard_of, frames)
        batch, *read = ahead(places)
        count(int((~batch.attended).sum()), batch.attended.numel())
        if regulariser:
            return regulariser.loss(model, batch.to(place), heard_of)
        if stage.distillation:
            return distillation.loss(model, batch.to(place), read[0].to(place), stage.distillation.weight)
        return {"loss": model.loss(batch.to(place))}

    regulariser = Regulariser(stage.classifier, train, config.seed, place) if stage.classifier else None
    warm_start = None
    if stage.objective == "ctc":
        warm_start = WarmStart(stage, model, tokenizer, train, present(data.frames).n_frames, config.seed)
    rng = np.random.default_rng([config.seed, index])
    asked = _asked(stage, train, config.seed, index, rng)
    turns = [train[item] for (item, _), _ in asked]
    examples = [example(one) for one in asked]
    # Lengths come from gold, so that batches are the same whatever labels a stage learns from.
    by_gold = [example(one, gold=True) for one in asked] if labels else examples
    lengths = list(map(schedule.reference_length, by_gold, turns))
    batches = schedule.batches(range(len(asked)), lengths, stage.batch_size, rng)
    parameters = model.trained_parameters(stage.train)
    besides: list[Any] = [one for one in (regulariser, warm_start) if one]
    for beside in besides:
        parameters |= beside.parameters()
    rate = (stage.adapter_lr or stage.lr) / stage.lr  # factor of the learning rate for all but LoRA
    whole = bool(regulariser or warm_start)  # no means over target tokens: batches are not cut
    parts = Parts(lambda i: n_targets(tokenizer, examples[i]), None if whole else stage.micro_batch)
    ahead = Ahead(collated, batches, parts, place.type)

    def lighten() -> bool:
        """Reduce the GPU memory of a step; return False where nothing more can be saved."""
        if warm_start is None and model.recompute_activations():
            return True
        return not whole and parts.halve(stage.batch_size)

    if warm_start:
        validate = warm_start.validation(data.validation, present(data.frames))
    else:
        validate = _validation(config, stage, model, tokenizer, data)
    with closing(ahead):
        fitted = fit(
            stage,
            parameters,
            batches,
            loss,
            validate,
            checkpoint,
            config.seed,
            shares={name: rate for name in parameters if "lora_" not in name},
            parts=parts,
            autocast=model.bf16,
            lighten=lighten,
            progress=progress,
            follow=follow,
            counted=positions,
        )
    amounts = _amounts(config, stage, turns, examples, tokenizer, data)
    thinking = [TASKS[e.task].thinks and t.id in data.traces for t, e in zip(turns, examples, strict=True)]
    stored = sum(thinking) if stage.traces else 0
    left = (warm_start.left_out, warm_start.head.weights()) if warm_start else (None, None)
    prompts = prompt_tokens(tokenizer, examples, spoken=data.frames is not None)
    padded = positions["padded"] / max(1, positions["all"])
    return fitted, Seen(padded, *amounts, prompts, stored, *left)


def _asked(
    stage: StageConfig, train: Sequence[Utterance], seed: int, index: int, rng: np.random.Generator
) -> list[Asked]:
    """Return the turns (indices into `train`) and tasks of a stage, in order.

    A turn is only asked tasks that it has gold for. A task of `stage.beside` is drawn independently: its
    examples and their order are the same, whatever other tasks are mixed in (protocol, rule 8).
    """

    def drawn(tasks: dict[TaskName, float], examples: int, rng: np.random.Generator) -> list[Asked]:
        places = [i for i, turn in enumerate(train) if any(TASKS[task].can_ask(turn) for task in tasks)]
        pairs = schedule.order(len(places), examples, rng)
        return [((places[i], epoch), tasks) for i, epoch in pairs]

    if all(TASKS[task].can_ask(turn) for turn in train for task in stage.tasks):
        asked = drawn(stage.tasks, stage.own_examples, rng)
    else:  # draw each task's share of the examples from the turns that have gold for it
        parts = schedule.shares(stage.tasks, stage.own_examples).items()
        asked = schedule.interleave([drawn({task: 1.0}, n, rng) for task, n in parts], rng)
    again: list[list[Asked]] = [[(turn, {stage.again: 1.0}) for turn, _ in asked]] if stage.again else []
    beside = [
        drawn({task: 1.0}, n, np.random.default_rng([seed, index, *task.encode()]))
        for task, n in sorted((stage.beside or {}).items())
    ]
    return schedule.interleave([asked, *again, *beside], rng) if again or beside else asked


def _amounts(
    config: RunConfig, stage: StageConfig, utterances, examples, tokenizer, data: Data
) -> tuple[float, int]:
    """Return the hours of speech and the number of text tokens in a stage's examples."""
    texts = [example.target for example in examples]
    if stage.distillation:
        texts += [utterance.transcript for utterance in utterances]
    if data.frames is not None:
        frames = sum(map(data.n_frames, utterances, examples))
        return frames / config.frames_a_second / 3600, sum(map(len, tokenizer(texts)["input_ids"]))
    texts += data.heard(utterances, stage.text, examples)["transcripts"]
    return 0.0, sum(map(len, tokenizer(texts)["input_ids"]))


def _asked_of_validation(
    stage: StageConfig, validation: Sequence[Utterance]
) -> list[tuple[Utterance, dict[TaskName, float]]]:
    """Return the first validation turns, each with the shares of tasks, of which one is drawn.

    Where a turn lacks gold for a task, each task has its own first turns, because a corpus may be sorted by
    task.
    """
    if all(TASKS[task].can_ask(turn) for turn in validation for task in stage.tasks):
        fixed = questions.with_gold(validation, stage.tasks, stage.validation_examples)
        return [(turn, stage.tasks) for turn in fixed]
    return [
        (turn, {task: 1.0})
        for task, n in schedule.shares(stage.tasks, stage.validation_examples).items()
        for turn in questions.with_gold(validation, [task], n)
    ]


def _validation(config: RunConfig, stage: StageConfig, model, tokenizer, data: Data):
    """Return a function that computes the validation values.

    They are `loss` (nats per target token) on fixed examples of the stage's own tasks, and the main metric of
    the decoded task on fixed turns. Both use gold, even where the stage learns from an annotator's labels.
    """
    pairs = _asked_of_validation(stage, data.validation)
    fixed = [turn for turn, _ in pairs]
    examples = [
        questions.training_example(u, data.slot_types, tasks, 0, 0, stage.described, style=config.prompt)
        for u, tasks in pairs
    ]
    parts = [slice(i, i + stage.batch_size) for i in range(0, len(examples), stage.batch_size)]
    positions: dict[str, Any] = {"speech_tokens": model.speech_tokens, "with_answer": True}
    batches = [
        collate(tokenizer, examples[p], **data.heard(fixed[p], stage.text, examples[p]), **positions)
        for p in parts
    ]
    task = stage.decoded_task or USUAL
    turns = questions.with_gold(data.validation, [task], stage.decoded_turns)
    asked = [questions.evaluation_example(u, data.slot_types, task, style=config.prompt) for u in turns]
    heard = data.heard(turns, stage.text, asked)

    most = stage.most_decoded(config.evaluation.max_new_tokens) or 0

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        model.eval()
        nats, targets = 0.0, 0
        for batch in batches:
            n = int(batch.answer.sum())
            nats += model.loss(batch.to(model.llm.device)).item() * n
            targets += n
        values = {"loss": nats / targets}
        if turns:
            size = config.evaluation.batch_size
            said = decode(model, tokenizer, asked, turns, **heard, batch_size=size, max_new_tokens=most)
            main = TASKS[task].main.name
            found = score.score_task(task, said)["metrics"]
            values |= {name: found[name]["value"] for name in (main, f"{main}_v2") if name in found}
        return values

    return validate
