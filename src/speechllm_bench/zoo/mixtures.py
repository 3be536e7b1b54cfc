"""Post-trainings of one base at equal tokens: instruct, reasoning and hybrid, each a
mixture of up to four kinds.

The kinds are extraction and repetition (`written.py`), problems with steps and problems without
(`problems.py`), and the plain text of the base's pre-training. All texts are read as plain tokens.
llm-mini's soft reading is not used, since it could make one LLM better prepared for speech than another.
A hybrid learns problems with and without steps. As in Qwen3, a switch in its prompt tells whether to
think: `/think` or `/no_think`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.planning import identity
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.tasks.prompt import AUDIO
from speechllm_bench.training import schedule
from speechllm_bench.training.loop import FitResult
from speechllm_bench.zoo import llm_mini
from speechllm_bench.zoo.fitting import Course, Item, Progress, answers, exact_share, read_batch
from speechllm_bench.zoo.recipes import Kind, MixtureRecipe, SmallerRecipe
from speechllm_bench.zoo.texts import problems, written

FIRST = 1_000_000  # index of the first extraction example; llm-mini has seen none of these
HELD_OUT = 128  # examples per kind
COUNTED = 256  # examples tokenized at a time
ANSWER_TOKENS = 80

Rows: TypeAlias = list[Item] | Tensor
"""One batch: examples of one kind, or (B, N) ids of plain text."""


def train(
    recipe: MixtureRecipe, checkpoints: Path, progress: Progress
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase, dict[str, FitResult], dict]:
    """Train from scratch, or resume. Return model, tokenizer, the fits, and the examples and tokens seen."""
    checkpoints /= runs.digest(identity.backbone_hash(recipe.base))  # not those of another base
    utterances = call_centre.utterances("zoo", recipe.utterances)
    tokenizer = load_tokenizer(recipe.base)
    tokenizer.chat_template = llm_mini.CHAT_TEMPLATE  # a base has none
    course = Course(recipe, checkpoints, progress)
    fits = {}
    if isinstance(recipe, SmallerRecipe):
        model = llm_mini.untrained(recipe, tokenizer)
        fits["pre_training"] = llm_mini.pre_train(course, recipe, model, tokenizer, utterances)
    else:
        model = load_llm(recipe.base).requires_grad_(True)
        model.set_attn_implementation(llm_mini.ATTENTION)
    fits["post_training"], seen = post_train(course, recipe, model, tokenizer, utterances)
    return model, tokenizer, fits, {"seen": seen}


def post_train(
    course: Course,
    recipe: MixtureRecipe,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    utterances: list[Utterance],
) -> tuple[FitResult, dict]:
    """Post-train in place. Return the fit, and the examples and tokens seen, by kind.

    The embedding, which is also the output layer, stays frozen. Otherwise all tokens that a mixture never
    outputs would get the same vector (see `written.py`), and one mixture would lose more tokens than another.
    A smaller LLM is compared with no other mixture, so its embedding is trained: at so small a width it
    hardly learns to copy otherwise.
    """
    batches, seen = batched(recipe, tokenizer, utterances)
    reader = SpeechLLM(model, adapter=None)
    model.get_input_embeddings().requires_grad_(isinstance(recipe, SmallerRecipe))
    fixed = {kind: held_out(recipe, kind, tokenizer, utterances) for kind in sorted(recipe.mixture)}

    def loss(rows: Rows) -> dict[str, Tensor]:
        model.train()
        if isinstance(rows, Tensor):
            return {"loss": llm_mini.language_loss(model, rows)}
        return {"loss": reader.loss(read_batch(tokenizer, rows))}

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        model.eval()
        values = {}
        for kind, rows in fixed.items():
            if isinstance(rows, Tensor):
                values[f"{kind}_loss"] = llm_mini.language_loss(model, rows).item()
                continue
            values[f"{kind}_loss"] = reader.loss(read_batch(tokenizer, rows)).item()
            said = answers(reader, tokenizer, read_batch(tokenizer, rows, False), ANSWER_TOKENS)
            values[f"{kind}_exact"] = exact_share(said, rows)
        return values

    phase = recipe.fit(sum(part["examples"] for part in seen.values()))
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return course.fit(phase, "post_training", learned, batches, loss, validate), seen


def batched(
    recipe: MixtureRecipe, tokenizer: PreTrainedTokenizerBase, utterances: list[Utterance]
) -> tuple[list[Rows], dict[str, dict[str, int]]]:
    """Return all batches in training order; and by kind the examples, tokens, and tokens with a loss.

    Every kind fills its share of the tokens, to within its last example. A batch has examples of one kind.
    """
    rng = np.random.default_rng(recipe.seed)
    formed: list[Rows] = []
    seen: dict[str, dict[str, int]] = {}
    for kind, share in sorted(recipe.mixture.items()):
        wanted = round(share * recipe.tokens)
        if kind == "general":
            n = -(-wanted // recipe.sequence_tokens)
            rows = llm_mini.pack(recipe, tokenizer, utterances, n, _seed(recipe))
            formed += rows.split(recipe.batch_size)
            tokens = n * recipe.sequence_tokens
            seen[kind] = {"examples": n, "tokens": tokens, "answer_tokens": tokens - n}
            continue
        items, lengths = _filled(wanted, items_of(recipe, kind, utterances), tokenizer)
        formed += schedule.batches(items, lengths, recipe.batch_size, rng)
        answers = [item.example.target + tokenizer.eos_token for item in items]
        learned = sum(map(len, tokenizer(answers, add_special_tokens=False)["input_ids"]))
        seen[kind] = {"examples": len(items), "tokens": sum(lengths), "answer_tokens": learned}
    return [formed[i] for i in rng.permutation(len(formed))], seen


def held_out(
    recipe: MixtureRecipe, kind: Kind, tokenizer: PreTrainedTokenizerBase, utterances: list[Utterance]
) -> Rows:
    """Return `HELD_OUT` examples of a kind that are not trained on."""
    if kind == "general":
        return llm_mini.pack(recipe, tokenizer, utterances, HELD_OUT, _seed(recipe) + 1)
    source = items_of(recipe, kind, utterances, True)
    return [next(source) for _ in range(HELD_OUT)]


def items_of(
    recipe: MixtureRecipe,
    kind: Kind,
    utterances: list[Utterance],
    held_out: bool = False,
) -> Iterator[Item]:
    """Yield examples of a kind that has answers, without end. Post-trainings with the
    same seed see the same ones.
    """
    index = 0
    while True:
        id = f"{kind}/{index}"
        if kind == "instruct":
            yield Item(*instruction(index, recipe, utterances, held_out))
        else:
            drawn = problems.problem(index, recipe.seed, held_out)
            yield Item(drawn.example(id, kind == "think", recipe.switched), drawn.text)
        index += 1


def instruction(
    index: int, recipe: MixtureRecipe, utterances: list[Utterance], held_out: bool = False
) -> tuple[Example, str]:
    """Return an example of extraction or repetition and its text; with the switch, if the recipe has one."""
    settings = recipe.instructions[index % len(recipe.instructions)]
    first = FIRST * (2 if held_out else 1)
    example, said = written.post_training(first + index, recipe.seed, utterances, **settings)
    if recipe.switched:
        example = replace(example, prompt=f"{example.prompt}\n{problems.SWITCH[False]}")
    return example, said


def _filled(
    wanted: int, source: Iterator[Item], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Item], list[int]]:
    """Return as many items as `wanted` tokens need, and the number of tokens of each."""
    items: list[Item] = []
    lengths: list[int] = []
    total = 0
    while total < wanted:
        some = [next(source) for _ in range(COUNTED)]
        for item, n in zip(some, n_tokens(tokenizer, some), strict=True):
            if total < wanted:
                items.append(item)
                lengths.append(n)
                total += n
    return items, lengths


def n_tokens(tokenizer: PreTrainedTokenizerBase, items: Sequence[Item]) -> list[int]:
    """Return the tokens of prompt, text and answer per item.

    The chat marks, equal for all, are not counted.
    """
    written = [item.example.prompt.replace(AUDIO, f" {item.text}") for item in items]
    asked, said = (
        tokenizer(some, add_special_tokens=False)["input_ids"]
        for some in (written, [item.example.target for item in items])
    )
    return [len(a) + len(b) for a, b in zip(asked, said, strict=True)]


def _seed(recipe: MixtureRecipe) -> int:
    """Return the seed of the recipe's plain text, which differs from the text of the base."""
    return recipe.seed + FIRST
