"""llm-mini: a small Llama with its own byte-level BPE, pre-trained on text and
post-trained to extract fields.

The recipe describes what each phase of post-training teaches. Phases go from easy to hard.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import pre_tokenizers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.tasks import slots, transcription
from speechllm_bench.training import schedule
from speechllm_bench.training.loop import FitResult
from speechllm_bench.zoo.fitting import (
    Course,
    Item,
    Progress,
    answers,
    byte_level_bpe,
    exact_share,
    read_batch,
)
from speechllm_bench.zoo.recipes import LLMRecipe, MixtureRecipe, PostTraining, SmallerRecipe
from speechllm_bench.zoo.texts import written
from speechllm_bench.zoo.texts.soft_reading import Pieces, SoftReader

PAD, END, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
HELD_OUT_ROWS = 256  # for validation; they come after the training examples
ANSWER_TOKENS = 80
TOKENIZER_LINES = 30_000
ATTENTION = "eager"  # torch's fused attention is slower under bf16 autocast on a CPU (benchmarks/speed.py)


def train_tokenizer(recipe: LLMRecipe, utterances: list[Utterance]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on both kinds of training text."""
    plain = written.pre_training(recipe.seed, utterances, recipe.marked)
    lines = [next(plain) for _ in range(TOKENIZER_LINES)]
    special, alphabet = [PAD, END, USER, ASSISTANT], pre_tokenizers.ByteLevel.alphabet()
    tokenizer = byte_level_bpe(lines, recipe.vocabulary, special, alphabet)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        chat_template=CHAT_TEMPLATE if recipe.post_training else None,
    )


def untrained(recipe: LLMRecipe | SmallerRecipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return the Llama of a recipe with random weights (`recipe.seed`)."""
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            num_hidden_layers=recipe.num_hidden_layers,
            num_attention_heads=recipe.num_attention_heads,
            num_key_value_heads=recipe.num_attention_heads,
            intermediate_size=recipe.intermediate_size,
            max_position_embeddings=1024,
            initializer_range=0.05,  # the default, 0.02, suits widths in the thousands
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.set_attn_implementation(ATTENTION)
    return model


def train(
    recipe: LLMRecipe, checkpoints: Path, progress: Progress
) -> Iterator[tuple[str, LlamaForCausalLM, PreTrainedTokenizerFast, dict[str, FitResult]]]:
    """Train from scratch, or resume a killed training. Yield name, model, tokenizer and fits.

    The first model is the pre-trained `<name>-base`. The second is `<name>`, the same model after instruction
    tuning. If the recipe has no post-training, the pre-trained model is `<name>`.
    """
    utterances = call_centre.utterances("zoo", recipe.utterances)
    tokenizer = train_tokenizer(recipe, utterances)
    model = untrained(recipe, tokenizer)
    course = Course(recipe, checkpoints, progress)
    fits = {"pre_training": pre_train(course, recipe, model, tokenizer, utterances)}
    yield f"{recipe.name}-base" if recipe.post_training else recipe.name, model, tokenizer, fits
    for phase in recipe.post_training:
        fits[phase.name] = post_train(course, phase, model, tokenizer, utterances)
    if recipe.post_training:
        yield recipe.name, model, tokenizer, fits


def pre_train(
    course: Course,
    recipe: LLMRecipe | SmallerRecipe,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    utterances: list[Utterance],
) -> FitResult:
    """Pre-train on plain text, in place."""
    config = recipe.pre_training
    rows = pack(recipe, tokenizer, utterances, config.examples + HELD_OUT_ROWS)
    held_out = rows[config.examples :]

    def loss(some: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": language_loss(model, some)}

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        return {"loss": language_loss(model, held_out).item()}

    batches = rows[: config.examples].split(config.batch_size)
    return course.fit(config, "pre_training", dict(model.named_parameters()), batches, loss, validate)


def pack(
    recipe: LLMRecipe | MixtureRecipe,
    tokenizer: PreTrainedTokenizerBase,
    utterances: list[Utterance],
    rows: int,
    seed: int | None = None,
) -> torch.Tensor:
    """Return token ids (rows, sequence_tokens): texts joined by end tokens and cut to length.

    seed: None for the recipe's. Another seed gives other texts.
    """
    source = written.pre_training(recipe.seed if seed is None else seed, utterances, recipe.marked)
    wanted = rows * recipe.sequence_tokens
    ids: list[int] = []
    while len(ids) < wanted:
        for encoded in tokenizer([next(source) for _ in range(2000)])["input_ids"]:
            ids += [*encoded, tokenizer.eos_token_id]
    return torch.tensor(ids[:wanted]).reshape(rows, recipe.sequence_tokens)


def language_loss(model: LlamaForCausalLM, tokens: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of plain text in nats per token. tokens: (B, N) ids."""
    logits = model(input_ids=tokens, use_cache=False).logits[:, :-1]
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def post_train(
    course: Course,
    phase: PostTraining,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    utterances: list[Utterance],
) -> FitResult:
    """Train one phase of post-training, in place."""
    seed = course.recipe.seed
    pairs = [
        written.post_training(phase.first + i, seed, utterances, phase.repeated, **phase.shares())
        for i in range(phase.examples + HELD_OUT_ROWS)
    ]
    speech_llm = SpeechLLM(model, adapter=None)
    items = [Item(example, said) for example, said in pairs]
    if phase.soft:
        speech_llm, cut = SoftReader(model), Pieces(tokenizer)
        items = [Item(e, cut(said, random.Random(f"{seed}/{e.id}"))) for e, said in pairs]

    def loss(some: list[schedule.Pair]) -> dict[str, torch.Tensor]:
        speech_llm.train()
        return {"loss": speech_llm.loss(read_batch(tokenizer, [items[i] for i, _ in some]))}

    held_out = items[phase.examples :]
    targets, prompts = (read_batch(tokenizer, held_out, with_answer) for with_answer in (True, False))

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        speech_llm.eval()
        said = answers(speech_llm, tokenizer, prompts, ANSWER_TOKENS)
        shares = {}
        for task in (slots.NAME, transcription.NAME):
            of_task = [i for i, item in enumerate(held_out) if item.example.task == task]
            shares[f"{task}_exact"] = exact_share([said[i] for i in of_task], [held_out[i] for i in of_task])
        return {"loss": speech_llm.loss(targets).item(), **shares}

    rng = np.random.default_rng(seed)
    order = schedule.order(phase.examples, phase.examples, rng)
    batches = schedule.batches(order, [len(items[i].text) for i, _ in order], phase.batch_size, rng)
    return course.fit(phase, phase.name, dict(model.named_parameters()), batches, loss, validate)
