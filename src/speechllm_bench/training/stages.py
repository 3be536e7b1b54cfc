"""Training stages of a SpeechLLM as data: each starts where the one before it ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from speechllm_bench import metrics
from speechllm_bench.config import RunConfig, StageConfig, Text
from speechllm_bench.data import questions
from speechllm_bench.data.frames import FrameStore
from speechllm_bench.data.tasks import slots
from speechllm_bench.metrics import partial_match
from speechllm_bench.models.adapters import build_adapter
from speechllm_bench.models.audio_llm import language_parts, load_audio_llm
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.inputs import collate
from speechllm_bench.models.llm import load_llm, load_tokenizer, with_lora
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.schema import Example, SlotType, Utterance
from speechllm_bench.training import schedule
from speechllm_bench.training.loop import Fit, fit

CHARACTERS_A_TOKEN = 4  # of text
SPOKEN_CHARACTERS_A_TOKEN = 2.1  # of speech: 13 characters and 6.25 speech tokens a second


@dataclass(frozen=True)
class Data:
    """What a stage learns from and is validated on."""

    train: list[Utterance]
    validation: list[Utterance]
    slot_types: dict[str, SlotType]
    frames: FrameStore | None  # None: text is read
    recognised: Mapping[str, str] = field(default_factory=dict)  # utterance id -> what a recogniser heard

    def heard(self, utterances: Sequence[Utterance], text: Text) -> dict[str, list]:
        """What the model gets of these turns, as `collate` and `decode` take it; `text` where it reads."""
        if self.frames is not None:
            return {"frames": [self.frames[u.id] for u in utterances]}
        if text == "asr":
            return {"transcripts": [self.recognised[u.id] for u in utterances]}
        return {"transcripts": [u.transcript for u in utterances]}


@dataclass(frozen=True)
class Seen:
    """What the examples of a stage were made of."""

    padding_share: float  # of the training positions
    speech_hours: float
    text_tokens: int  # of the answers, and of what a text LLM read in place of speech


def build_model(config: RunConfig, d_encoder: int | None) -> tuple[SpeechLLM, PreTrainedTokenizerBase]:
    """The untrained SpeechLLM of a run; LoRA and the adapter each start from the run's seed alone.

    An audio LLM brings its adapter with it. `d_encoder` is None for a text LLM.
    """
    torch.manual_seed(config.seed)
    adapter = None
    if config.audio_llm:
        llm, adapter = language_parts(load_audio_llm(config.audio_llm))
        llm = with_lora(llm, config.lora)
    else:
        llm = load_llm(config.llm, config.lora)
    torch.manual_seed(config.seed)  # the same adapter with LoRA and without
    if config.adapter:
        adapter = build_adapter(config.adapter, d_encoder, llm.get_input_embeddings().embedding_dim)
    model = SpeechLLM(llm, adapter).to("cuda" if torch.cuda.is_available() else "cpu")
    return model, load_tokenizer(config.audio_llm or config.llm)


def train_stage(
    config: RunConfig,
    index: int,
    model: SpeechLLM,
    tokenizer: PreTrainedTokenizerBase,
    data: Data,
    checkpoint: Path,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Fit, Seen]:
    """Train stage `index` in place; returns the fit and what was seen for it."""
    stage = config.stages[index]
    device = model.llm.device
    # The first calls of the split: fewer are a prefix of more.
    train = data.train[: math.ceil(len(data.train) * (stage.train_share or 1))]
    padding = np.zeros(2, dtype=np.int64)  # positions that were padding, positions in all

    def example(pair: schedule.Pair) -> Example:
        item, epoch = pair
        return questions.training_example(train[item], data.slot_types, stage.tasks, config.seed, epoch)

    def loss(pairs: Sequence[schedule.Pair]) -> dict[str, torch.Tensor]:
        model.train()
        heard = data.heard([train[item] for item, _ in pairs], stage.text)
        examples = [example(pair) for pair in pairs]
        batch = collate(tokenizer, examples, **heard, speech_tokens=model.speech_tokens, with_answer=True)
        padding[:] += (~batch.attended).sum().item(), batch.attended.numel()
        return {"loss": model.loss(batch.to(device))}

    rng = np.random.default_rng([config.seed, index])
    pairs = schedule.order(len(train), stage.examples, rng)
    lengths = [_reference_length(example(pair), train[pair[0]]) for pair in pairs]
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
    seen = [train[item] for item, _ in pairs]
    hours, tokens = _amounts(config, stage, seen, map(example, pairs), tokenizer, data)
    return fitted, Seen(float(padding[0] / max(1, padding[1])), hours, tokens)


def _amounts(
    config: RunConfig, stage: StageConfig, utterances, examples, tokenizer, data: Data
) -> tuple[float, int]:
    """Hours of speech and tokens of text in a stage's examples."""
    texts = [example.target for example in examples]
    if data.frames is not None:
        frames = sum(data.frames.n_frames(u.id) for u in utterances)
        return frames / config.frames_a_second / 3600, sum(map(len, tokenizer(texts)["input_ids"]))
    texts += data.heard(utterances, stage.text)["transcripts"]
    return 0.0, sum(map(len, tokenizer(texts)["input_ids"]))


def _validation(config: RunConfig, stage: StageConfig, model, tokenizer, data: Data):
    """Loss on fixed validation examples of the stage's tasks, and partial-match F1 on fixed turns."""
    fixed = data.validation[: stage.validation_examples]
    examples = [questions.training_example(u, data.slot_types, stage.tasks, 0, 0) for u in fixed]
    parts = [slice(i, i + stage.batch_size) for i in range(0, len(examples), stage.batch_size)]
    positions = {"speech_tokens": model.speech_tokens, "with_answer": True}
    batches = [
        collate(tokenizer, examples[p], **data.heard(fixed[p], stage.text), **positions) for p in parts
    ]
    turns = data.validation[: stage.decoded_turns]
    asked = [questions.evaluation_example(u, data.slot_types, "slots") for u in turns]
    heard = data.heard(turns, stage.text)

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
            said = decode(model, tokenizer, asked, turns, **heard, batch_size=decoding.batch_size,
                          max_new_tokens=decoding.max_new_tokens)  # fmt: skip
            counts = [partial_match.counts(slots.parse(p.gold), slots.parse(p.raw)) for p in said]
            values["f1"] = metrics.score(metrics.total(counts))["f1"]
        return values

    return validate


def _reference_length(example: Example, utterance: Utterance) -> float:
    """About how many positions an example takes, whatever the adapter, the tokenizer, speech or text."""
    text = (len(example.prompt) + len(example.target)) / CHARACTERS_A_TOKEN
    return text + len(utterance.transcript) / SPOKEN_CHARACTERS_A_TOKEN
