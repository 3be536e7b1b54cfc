"""audio-llm-mini: a small Qwen2-Audio, built from whisper-mini's encoder and llm-mini, pre-trained on speech.

The language model starts as llm-mini with extra identity blocks in between (block expansion of Wu
et al., 2401.02415). The audio tower is the encoder and stays frozen, so its frames are computed
once. The projector and the language model are trained on three tasks: speech transcription,
extraction of fields from spoken records, and repetition of text. No question names a slot of the
corpus, and every voice is one of the zoo split.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import (
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    Qwen2AudioConfig,
    Qwen2AudioEncoder,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.frames import FrameStore
from speechllm_bench.models import audio_llm
from speechllm_bench.models.encoder import load_encoder
from speechllm_bench.models.inputs import Batch, collate
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.planning import identity
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.tasks import transcription
from speechllm_bench.tasks.task import Draw
from speechllm_bench.training import schedule
from speechllm_bench.training.loop import FitResult
from speechllm_bench.zoo.fitting import (
    Course,
    Item,
    Progress,
    Spoken,
    answers,
    exact_share,
    read_batch,
    spoken_features,
)
from speechllm_bench.zoo.recipes import AudioLLMRecipe, PreTraining
from speechllm_bench.zoo.texts.readings import MIXED, SHORT, read_aloud, spoken_records
from speechllm_bench.zoo.texts.written import post_training

AUDIO_TOKENS = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")  # as in Qwen2-Audio's processor
POSITIONS = 2048  # of the language model; 30 s of speech take 750
HELD_OUT = 64  # validation items per task
ANSWER_TOKENS = 80
MANNERS = {"short": SHORT, "mixed": MIXED}
CHUNK = 500  # utterances encoded at a time


def processor(tokenizer: PreTrainedTokenizerBase, n_mels: int) -> Qwen2AudioProcessor:
    """Return the processor that is stored with such a model.

    Adds the audio tokens to `tokenizer` in place.
    """
    tokenizer.add_tokens(list(AUDIO_TOKENS), special_tokens=True)
    return Qwen2AudioProcessor(
        WhisperFeatureExtractor(feature_size=n_mels), tokenizer, chat_template=tokenizer.chat_template
    )


def untrained(
    encoder: WhisperEncoder, llm: LlamaForCausalLM, blocks: int, made: Qwen2AudioProcessor, seed: int
) -> Qwen2AudioForConditionalGeneration:
    """Return the model before training. It reads as `llm` does and hears as `encoder` does.

    The weights of the projector are random (`seed`). blocks: number of blocks of the language model per block
    of `llm`; all but the first of them start as the identity.
    """
    torch.manual_seed(seed)
    hearing = ("num_mel_bins", "d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim")
    reading = ["hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size"]
    reading += ["rms_norm_eps", "rope_parameters", "pad_token_id", "eos_token_id"]
    model = Qwen2AudioForConditionalGeneration(
        Qwen2AudioConfig(
            audio_config={"model_type": "qwen2_audio_encoder"}
            | {key: getattr(encoder.config, key) for key in hearing},
            text_config={
                "model_type": "qwen2",
                "vocab_size": len(made.tokenizer),
                "num_hidden_layers": blocks * llm.config.num_hidden_layers,
                "max_position_embeddings": POSITIONS,
                "tie_word_embeddings": False,
                "bos_token_id": None,
            }
            | {key: getattr(llm.config, key) for key in reading},
            audio_token_index=made.audio_token_id,
        )
    )
    model.model.audio_tower.load_state_dict(encoder.state_dict())
    _grow(model, llm, blocks)
    embeddings = llm.get_input_embeddings().weight
    spread = embeddings.std() / encoder.config.d_model**0.5  # speech then has the scale of text embeddings
    nn.init.normal_(model.model.multi_modal_projector.linear.weight, std=spread.item())
    return model


@torch.no_grad()
def _grow(model: Qwen2AudioForConditionalGeneration, llm: LlamaForCausalLM, blocks: int) -> None:
    """Copy the llm's weights into the language model. Weights that Llama lacks start at zero."""
    language = model.model.language_model
    for i, layer in enumerate(language.layers):
        missing = layer.load_state_dict(llm.model.layers[i // blocks].state_dict(), strict=False).missing_keys
        for name in missing:  # Qwen2's biases
            layer.get_parameter(name).zero_()
        if i % blocks:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    language.norm.load_state_dict(llm.model.norm.state_dict())
    words = llm.get_input_embeddings().weight
    for table in (language.embed_tokens.weight, model.lm_head.weight):
        table[: len(words)] = words
        table[len(words) :] = words.mean(dim=0)


def train(
    recipe: AudioLLMRecipe, checkpoints: Path, n_workers: int, progress: Progress
) -> tuple[Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor, dict[str, FitResult], dict]:
    """Train from scratch, or resume.

    Return model, processor, the fits, and the amounts of speech and text.
    """
    encoder, llm = load_encoder(recipe.encoder), load_llm(recipe.llm)
    made = processor(load_tokenizer(recipe.llm), encoder.config.num_mel_bins)
    model = untrained(encoder, llm, recipe.blocks, made, recipe.seed)
    if not recipe.pre_training:
        return model, made, {}, {"speech_hours": 0.0, "text_tokens": 0}
    material = items(recipe)
    utterances = [item.spoken for some in material.values() for item in some if item.spoken]
    frames = spoken_frames(utterances, model.model.audio_tower.eval(), recipe.encoder, n_workers)
    # Training from other initial weights needs separate checkpoints.
    checkpoints /= runs.digest([identity.backbone_hash(name) for name in (recipe.encoder, recipe.llm)])
    course = Course(recipe, checkpoints, progress)
    fits, seen = {}, []
    for phase in recipe.pre_training:
        batches = phase_batches(recipe, phase, material)
        fits[phase.name] = train_phase(course, phase, model, made.tokenizer, batches, material, frames)
        seen.append(_seen(batches, made.tokenizer, frames))
    hours, tokens = map(sum, zip(*seen, strict=True))
    return model, made, fits, {"speech_hours": round(hours, 1), "text_tokens": tokens}


def items(recipe: AudioLLMRecipe) -> dict[str, list[Item]]:
    """Return all items of a recipe, by task. They are the same each time."""
    readings = [
        utterance
        for manner, n in recipe.readings.items()
        for utterance in read_aloud(n, recipe.seed, MANNERS[manner])
    ]
    rng = random.Random(recipe.seed)
    calls = call_centre.utterances("zoo", len(readings))
    records = spoken_records(recipe.records, recipe.seed, calls, recipe.shares())
    texts = [post_training(i, recipe.seed, calls, repeated=1.0) for i in range(recipe.repetitions)]
    return {
        "transcription": [
            Item(transcription.example(u, Draw({}, rng, training=True)), u.transcript, u) for u in readings
        ],
        "extraction": [Item(example, said.transcript, said) for example, said in records],
        "repetition": [Item(*text) for text in texts],
    }


def spoken_frames(
    utterances: Sequence[Utterance], tower: Qwen2AudioEncoder, encoder: str, n_workers: int
) -> FrameStore:
    """Return the tower frames of the utterances. encoder: the backbone from which the tower was copied."""
    origin = identity.backbone_hash(encoder)

    def features(spoken: Iterator[Spoken]) -> Iterator[tuple[str, np.ndarray]]:
        while chunk := list(islice(spoken, CHUNK)):
            for i, frames in audio_llm.encode(tower, [audio for _, audio in chunk]):
                yield chunk[i][0].id, frames

    width, key = tower.config.d_model, {"encoder": origin}
    return spoken_features("frames", utterances, features, width, key, n_workers, origin)


def phase_batches(
    recipe: AudioLLMRecipe, phase: PreTraining, material: dict[str, list[Item]]
) -> list[list[Item]]:
    """Return the batches of a phase. Each task has its share of the examples and cycles through its items.

    A batch is either heard or read. The last `HELD_OUT` items of each task are kept for validation.
    """
    rng = np.random.default_rng([recipe.seed, recipe.pre_training.index(phase)])
    heard: list[Item] = []
    read: list[Item] = []
    for task, share in sorted(phase.tasks.items()):
        some = material[task][:-HELD_OUT]
        pairs = schedule.order(len(some), round(share * phase.examples), rng)
        (heard if some[0].spoken else read).extend(some[i] for i, _ in pairs)
    batches = [batch for some in (heard, read) for batch in _batches(some, phase.batch_size, rng)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _batches(some: list[Item], batch_size: int, rng: np.random.Generator) -> list[list[Item]]:
    mixed = [some[i] for i in rng.permutation(len(some))]
    lengths = [len(item.text) + len(item.example.prompt) / 4 for item in mixed]
    return schedule.batches(mixed, lengths, batch_size, rng)


def train_phase(
    course: Course,
    phase: PreTraining,
    model: Qwen2AudioForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    batches: list[list[Item]],
    material: dict[str, list[Item]],
    frames: FrameStore,
) -> FitResult:
    """Train one phase of the pre-training, in place."""
    speech_llm = SpeechLLM(*audio_llm.language_parts(model))  # without the tower, whose frames are stored
    parameters = {name: p.requires_grad_() for name, p in speech_llm.named_parameters()}
    fixed = {task: material[task][-HELD_OUT:] for task in sorted(phase.tasks)}

    def batch(some: list[Item], with_answer: bool) -> Batch:
        if not some[0].spoken:
            return read_batch(tokenizer, some, with_answer)
        return collate(
            tokenizer,
            [item.example for item in some],
            frames=[frames[item.spoken.id] for item in some if item.spoken],
            speech_tokens=speech_llm.speech_tokens,
            with_answer=with_answer,
        )

    def loss(some: list[Item]) -> dict[str, torch.Tensor]:
        speech_llm.train()
        return {"loss": speech_llm.loss(batch(some, True))}

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        speech_llm.eval()
        values = {}
        for task, some in fixed.items():
            values[f"{task}_loss"] = speech_llm.loss(batch(some, True)).item()
            said = answers(speech_llm, tokenizer, batch(some, False), ANSWER_TOKENS)
            values[f"{task}_exact"] = exact_share(said, some)
        return values

    return course.fit(phase, phase.name, parameters, batches, loss, validate)


def _seen(
    batches: list[list[Item]], tokenizer: PreTrainedTokenizerBase, frames: FrameStore
) -> tuple[float, int]:
    """Return the hours of speech, and the text tokens of answers and of texts given as input."""
    some = [item for batch in batches for item in batch]
    n_frames = sum(frames.n_frames(item.spoken.id) for item in some if item.spoken)
    texts = [item.example.target for item in some] + [item.text for item in some if not item.spoken]
    return n_frames / audio_llm.FRAMES_A_SECOND / 3600, sum(map(len, tokenizer(texts)["input_ids"]))
