"""Skills of a text LLM of the zoo besides slots: extraction, repetition, arithmetic, logic, code, plain text.

The held-out questions are the same for every LLM. Records and texts to repeat come from `written.py` and use
validation turns of the corpus. Problems come from `problems.py`, which keeps them out of training. An answer
counts if it equals the target exactly; a thought before the answer is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from speechllm_bench import stats
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.storage.schema import Example
from speechllm_bench.tasks.trace import response
from speechllm_bench.zoo import fitting, llm_mini
from speechllm_bench.zoo.fitting import Item
from speechllm_bench.zoo.recipes import LLMRecipe, MixtureRecipe
from speechllm_bench.zoo.texts import problems, written

QUESTIONS = 300  # per skill
ROWS = 128  # of plain text
SEED = 2_000_003  # of all questions; no recipe uses it
TURNS = 500  # of the validation split, for plain text, repetition and context
BATCH = 100
ANSWER_TOKENS = 200
FIELDS = {"renamed": 0.35, "rare": 0.5, "typed": 0.5, "closed": 0.5, "related": 0.4}
EXACT = ("extraction", "repetition", *problems.SUBJECTS)
PLAIN = "as it is"  # the mode of an LLM without a switch
Asked = tuple[Example, str]
"""A question and the text that it is about."""


def measure(
    model: SpeechLLM,
    tokenizer: PreTrainedTokenizerBase,
    recipe: LLMRecipe | MixtureRecipe,
    n: int | None = None,
) -> dict:
    """Return mode -> skill -> value with interval: shares of exact answers, and perplexity
    per token of plain text.

    recipe: the recipe of the LLM. If it has a switch, both modes are measured. n: questions per skill, the
    first of `QUESTIONS`; None: all.
    """
    model.eval()
    modes = {PLAIN: ""}
    if isinstance(recipe, MixtureRecipe) and recipe.switched:
        modes = {switch: f"\n{switch}" for switch in problems.SWITCH.values()}
    held_out = {skill: asked[:n] for skill, asked in plain_questions().items()}
    plain = perplexity(model, tokenizer, recipe)  # without a prompt, so the same in every mode
    found: dict[str, dict] = {}
    for mode, ending in modes.items():
        found[mode] = {}
        for skill, asked in held_out.items():
            put = [(replace(e, prompt=e.prompt + ending), said) for e, said in asked]
            right = [
                response(answer) == example.target
                for answer, (example, _) in zip(answers(model, tokenizer, put), put, strict=True)
            ]
            found[mode][skill] = _interval(np.array(right, float))
        found[mode]["perplexity"] = plain
    return found


def plain_questions() -> dict[str, list[Asked]]:
    """Return `QUESTIONS` questions per skill, without a switch. Their targets have no steps."""
    turns = call_centre.utterances("validation", TURNS)
    asked = {
        "extraction": [written.extraction(i, SEED, turns, **FIELDS) for i in range(QUESTIONS)],
        "repetition": [written.post_training(i, SEED, turns, repeated=1.0) for i in range(QUESTIONS)],
    }
    for subject in problems.SUBJECTS:
        drawn = [problems.problem(i, SEED, True, subject) for i in range(QUESTIONS)]
        asked[subject] = [(p.example(f"{subject}/{i}", False, False), p.text) for i, p in enumerate(drawn)]
    return asked


def answers(model: SpeechLLM, tokenizer: PreTrainedTokenizerBase, asked: Sequence[Asked]) -> list[str]:
    """Return greedy answers to questions about texts, one per question."""
    said = []
    for start in range(0, len(asked), BATCH):
        items = [Item(example, text) for example, text in asked[start : start + BATCH]]
        batch = fitting.read_batch(tokenizer, items, with_answer=False)
        said += fitting.answers(model, tokenizer, batch, ANSWER_TOKENS)
    return said


@torch.inference_mode()
def perplexity(
    model: SpeechLLM, tokenizer: PreTrainedTokenizerBase, recipe: LLMRecipe | MixtureRecipe
) -> dict:
    """Return perplexity per token of plain text without marks.

    Tokens are those of the LLM's own tokenizer.
    """
    turns = call_centre.utterances("validation", TURNS)
    rows = llm_mini.pack(recipe.model_copy(update={"marked": 0.0}), tokenizer, turns, ROWS, SEED)
    nats = [llm_mini.language_loss(model.llm, row[None]).item() for row in rows]
    return {name: float(np.exp(v)) if name != "n" else v for name, v in _interval(np.array(nats)).items()}


def _interval(values: np.ndarray) -> dict:
    """Return the mean of one value per question, with its 95 % interval by bootstrap over the questions."""
    ids = [f"{i:04}" for i in range(len(values))]
    summed = stats.sum_by_speaker(ids, ids, np.stack([values, np.ones_like(values)], axis=1))
    mean = stats.bootstrap(summed, lambda sums: sums[..., 0] / sums[..., 1], np.random.default_rng(0), 2000)
    return {"value": mean.value, "low": mean.low, "high": mean.high, "n": mean.n}
