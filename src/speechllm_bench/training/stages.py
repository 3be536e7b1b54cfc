"""Training stages of a SpeechLLM as data: each starts where the one before it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from speechllm_bench import metrics
from speechllm_bench.config import RunConfig, StageConfig
from speechllm_bench.data import questions
from speechllm_bench.data.frames import FrameStore
from speechllm_bench.data.tasks import slots
from speechllm_bench.metrics import partial_match
from speechllm_bench.models.adapters import DOWNSAMPLING, build_adapter
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.inputs import Batch, collate
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.schema import Example, SlotType, Utterance
from speechllm_bench.training import schedule
from speechllm_bench.training.loop import Fit, fit

CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True)
class Data:
    """What a stage learns from and is validated on."""

    train: list[Utterance]
    validation: list[Utterance]
    slot_types: dict[str, SlotType]
    frames: FrameStore


def build_model(config: RunConfig, d_encoder: int) -> tuple[SpeechLLM, PreTrainedTokenizerBase]:
    """The untrained SpeechLLM of a run; LoRA and the adapter each start from the run's seed alone."""
    torch.manual_seed(config.seed)
    llm = load_llm(config.llm, config.lora)
    torch.manual_seed(config.seed)  # the same adapter with LoRA and without
    adapter = build_adapter(config.adapter, d_encoder, llm.get_input_embeddings().embedding_dim)
    model = SpeechLLM(llm, adapter)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), load_tokenizer(config.llm)


def train_stage(
    config: RunConfig,
    index: int,
    model: SpeechLLM,
    tokenizer: PreTrainedTokenizerBase,
    data: Data,
    checkpoint: Path,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Fit, float]:
    """Train stage `index` in place; returns the fit and the share of training positions that were padding."""
    stage = config.stages[index]
    device = model.llm.device
    padding = np.zeros(2, dtype=np.int64)  # positions that were padding, positions in all

    def example(pair: schedule.Pair) -> Example:
        item, epoch = pair
        return questions.training_example(data.train[item], data.slot_types, stage.tasks, config.seed, epoch)

    def loss(pairs: Sequence[schedule.Pair]) -> dict[str, torch.Tensor]:
        model.train()
        batch = _batch(tokenizer, [example(pair) for pair in pairs], data, with_answer=True)
        padding[:] += (~batch.attended).sum().item(), batch.attended.numel()
        return {"loss": model.loss(batch.to(device))}

    rng = np.random.default_rng([config.seed, index])
    pairs = schedule.order(len(data.train), stage.examples, rng)
    lengths = [_reference_length(example(pair), data.frames) for pair in pairs]
    batches = schedule.batches(pairs, lengths, stage.batch_size, rng)
    fitted = fit(
        stage,
        model.trained_parameters(stage.train),
        batches,
        loss,
        _validation(config, stage, model, tokenizer, data),
        checkpoint,
        config.seed,
        autocast=config.precision == "bf16",
        progress=progress,
    )
    return fitted, padding[0] / max(1, padding[1])


def _validation(config: RunConfig, stage: StageConfig, model, tokenizer, data: Data):
    """Loss on fixed validation examples of the stage's tasks, and partial-match F1 on fixed turns."""
    fixed = data.validation[: stage.validation_examples]
    examples = [questions.training_example(u, data.slot_types, stage.tasks, 0, 0) for u in fixed]
    batches = [
        _batch(tokenizer, examples[i : i + stage.batch_size], data, with_answer=True)
        for i in range(0, len(examples), stage.batch_size)
    ]
    turns = data.validation[: stage.decoded_turns]
    asked = [questions.evaluation_example(u, data.slot_types, "slots") for u in turns]
    frames = [data.frames[u.id] for u in turns]

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
            decoding = config.evaluation
            said = decode(model, tokenizer, asked, turns, frames=frames, batch_size=decoding.batch_size,
                          max_new_tokens=decoding.max_new_tokens)  # fmt: skip
            counts = [partial_match.counts(slots.parse(p.gold), slots.parse(p.raw)) for p in said]
            values["f1"] = metrics.score(metrics.total(counts))["f1"]
        return values

    return validate


def _reference_length(example: Example, frames: FrameStore) -> float:
    """About how many positions an example takes, whatever the adapter and the tokenizer."""
    text = (len(example.prompt) + len(example.target)) / CHARACTERS_A_TOKEN
    return text + frames.n_frames(example.utterance_id) / DOWNSAMPLING


def _batch(tokenizer, examples: Sequence[Example], data: Data, *, with_answer: bool) -> Batch:
    frames = [data.frames[e.utterance_id] for e in examples]
    return collate(tokenizer, examples, frames=frames, with_answer=with_answer)
