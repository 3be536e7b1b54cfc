"""A backbone's model card, written from its records alone."""

from __future__ import annotations

from pathlib import Path

from speechllm_bench import runs
from speechllm_bench.stats import with_interval
from speechllm_bench.zoo import retention
from speechllm_bench.zoo.config import AudioLLMRecipe, MixtureRecipe, Phase, Recipe, SmallerRecipe

_HEAD = """---
license: cc-by-4.0
language: en
library_name: transformers
tags: [speechllm-bench, {tag}]
---
# {name}

{what} Made by this project from nothing but its own synthetic text and speech; it stands in for
{stands_for} in the profiles `smoke` and `mini`, and is of no use outside of them.
"""

_SMALLER = "post-trained on the same mixture in smaller batches, with an embedding that went on learning."
_WHAT = {  # what it is, what it stands for, its tag on model hubs
    "audio-llm-mini": (
        "A small Qwen2-Audio that transcribes telephone speech and fills fields named in its prompt from it, "
        "on field names that the corpus does not have; grown from whisper-mini's encoder and llm-mini.",
        "Qwen2-Audio-7B-Instruct",
        "audio-text-to-text",
    ),
    "audio-llm-mini-small": (
        "audio-llm-mini with a language model of llm-mini's size, pre-trained on the same examples.",
        "an audio LLM of the composite's size",
        "audio-text-to-text",
    ),
    "audio-llm-mini-fresh": (
        "audio-llm-mini as it is grown from whisper-mini's encoder and llm-mini, before any pre-training.",
        "an audio LLM that has heard nothing yet",
        "audio-text-to-text",
    ),
    "whisper-mini": (
        "A small Whisper for the telephone speech of the embedded call-centre corpus.",
        "Whisper-base and -small",
        "automatic-speech-recognition",
    ),
    "llm-mini": (
        "A small Llama that fills fields named in its prompt from text, on field names that the corpus does "
        "not have.",
        "Llama-3.2-1B-Instruct",
        "text-generation",
    ),
    "llm-mini-base": (
        "A small Llama that has read the language of the embedded corpus; the parent of llm-mini, which was "
        "post-trained to fill fields.",
        "Llama-3.2-1B",
        "text-generation",
    ),
    "llm-mini-plain": (
        "A small Llama that has read the language of the embedded corpus and every printable character; the "
        "parent of the post-trainings for 2510.19326.",
        "Llama-3.1-8B",
        "text-generation",
    ),
    "llm-mini-instruct": (
        "A small Llama post-trained to follow instructions, on as many tokens as its sisters.",
        "Llama-3.1-8B-Instruct",
        "text-generation",
    ),
    "llm-mini-reasoning": (
        "A small Llama post-trained to work out arithmetic, logic and code step by step, with a quarter of "
        "plain text.",
        "DeepSeek-R1-Distill-Llama-8B",
        "text-generation",
    ),
    "llm-mini-reasoning-0": (
        "A small Llama post-trained to work out arithmetic, logic and code step by step, without plain text.",
        "a reasoning LLM that sees no general text",
        "text-generation",
    ),
    "llm-mini-reasoning-50": (
        "A small Llama post-trained to work out arithmetic, logic and code step by step, half plain text.",
        "a reasoning LLM that sees much general text",
        "text-generation",
    ),
    "llm-mini-hybrid": (
        "A small Llama that follows instructions and works out problems, with or without its steps as the "
        "prompt's last line, /think or /no_think, says.",
        "Qwen3-4B",
        "text-generation",
    ),
    "llm-micro-hybrid": (
        f"About a quarter of llm-mini-hybrid, {_SMALLER}",
        "Qwen3-1.7B",
        "text-generation",
    ),
    "llm-nano-hybrid": (
        f"A twelfth of llm-mini-hybrid, {_SMALLER}",
        "Qwen3-0.6B",
        "text-generation",
    ),
}
_SEEN = {
    "instruct": "extraction and repetition",
    "think": "arithmetic, logic and code with their steps",
    "no_think": "arithmetic, logic and code without",
    "general": "plain text",
}


def text(folder: Path, name: str, recipe: Recipe) -> str:
    """The card: size, data, steps, time and measured quality."""
    what, stands_for, tag = _WHAT[name]
    training, evaluation = (runs.read_json(folder / f"{f}.json") for f in ("training", "evaluation"))
    phases = {phase: fit for phase, fit in _phases(recipe, training).items() if phase in training["seconds"]}
    lines = [
        _HEAD.format(name=name, what=what, stands_for=stands_for, tag=tag),
        "| | |\n|---|---|",
        f"| parameters | {training['parameters']:,} |",
        f"| weights | safetensors, fp16, sha256 `{training['weights_sha256'][:16]}` |",
        f"| distinct utterances of the zoo split | {recipe.utterances:,} |",
    ]
    for phase, fit in phases.items():
        steps = -(-fit.examples // fit.batch_size)
        minutes, threads = round(training["seconds"][phase] / 60), training["threads"][phase]
        lines.append(
            f"| {phase.replace('_', '-')} | {fit.examples:,} examples in {steps:,} steps of "
            f"{fit.batch_size}, peak learning rate {fit.lr:g}, {minutes} minutes "
            f"on {threads} CPU thread{'s' * (threads > 1)} |"
        )
    if isinstance(recipe, MixtureRecipe):
        lines.append(f"| starts from | {_start(recipe)} |")
        for kind, amount in training["seen"].items():
            lines.append(
                f"| of the post-training, {_SEEN[kind]} | {amount['examples']:,} examples, "
                f"{amount['tokens']:,} tokens, {amount['answer_tokens']:,} of them learned |"
            )
    if isinstance(recipe, AudioLLMRecipe):
        lines.append(f"| speech heard in training | {training['speech_hours']:,} hours |")
        lines.append(f"| text read and written in training | {training['text_tokens']:,} tokens |")
    lines += [
        f"| trained | {training['trained']} |",
        "\nMeasured on held-out turns (95 % interval over speakers), by `speechllm-bench zoo evaluate "
        f"{name}`:\n",
    ]
    measured = evaluation["splits"]
    names = list(next(iter(measured.values())))
    lines += [f"| split | {' | '.join(names)} | turns | speakers |", "|---" * (len(names) + 3) + "|"]
    for split, values in measured.items():
        cells = [with_interval(v["value"], v["low"], v["high"]) for v in values.values()]
        first = values[names[0]]
        lines.append(f"| {split} | {' | '.join(cells)} | {first['n']} | {first['n_speakers']} |")
    if "skills" in evaluation:
        lines += _skills(evaluation["skills"]) + _left(f"zoo/{name}")
    lines.append(f"\nLicence of the weights: CC BY 4.0. The recipe is `experiments/zoo/{recipe.name}.yaml`.")
    return "\n".join(lines) + "\n"


def _phases(recipe: Recipe, training: dict) -> dict[str, Phase]:
    if not isinstance(recipe, MixtureRecipe):
        return recipe.phases()
    first = {"pre_training": recipe.pre_training} if isinstance(recipe, SmallerRecipe) else {}
    examples = sum(amount["examples"] for amount in training["seen"].values())
    return first | {"post_training": recipe.fit(examples)}


def _start(recipe: MixtureRecipe) -> str:
    """What the post-training starts from."""
    if isinstance(recipe, SmallerRecipe):
        return f"random weights, with the tokenizer of `{recipe.base}`"
    return f"`{recipe.base}`"


def _left(llm: str) -> list[str]:
    """The skills before and after tuning on slots, of the trainings of profile `mini` that were measured."""
    left = retention.read(llm)
    if left.empty:
        return []
    told = f"\nBy variants of the studies at profile `mini`: {retention.caption(left)}\n"
    return [told, retention.display(left).to_markdown(index=False, disable_numparse=True)]


def _skills(measured: dict[str, dict]) -> list[str]:
    """A table of held-out skills, one column a mode."""
    modes = list(measured)
    first = next(iter(measured.values()))
    lines = [
        "\nHeld-out questions that are no slots: share of exact answers; perplexity a token of plain text "
        "(95 % interval over questions):\n",
        f"| | {' | '.join(modes)} | n |",
        "|---" * (len(modes) + 2) + "|",
    ]
    for skill, one in first.items():
        cells = [with_interval(v["value"], v["low"], v["high"]) for v in (measured[m][skill] for m in modes)]
        lines.append(f"| {skill} | {' | '.join(cells)} | {one['n']} |")
    return lines
