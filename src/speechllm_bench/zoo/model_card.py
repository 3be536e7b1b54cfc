"""The model card of a backbone, written from its records alone."""

from __future__ import annotations

from pathlib import Path

from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.stats import with_interval
from speechllm_bench.storage import runs
from speechllm_bench.zoo import retention
from speechllm_bench.zoo.recipes import AudioLLMRecipe, MixtureRecipe, Phase, Recipe, SmallerRecipe

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

_SEEN = {
    "instruct": "extraction and repetition",
    "think": "arithmetic, logic and code with their steps",
    "no_think": "arithmetic, logic and code without",
    "general": "plain text",
}


def card(folder: Path, name: str, recipe: Recipe) -> str:
    """Return the card: size, data, steps, time and measured quality."""
    told = read_yaml(Path(__file__).with_name("backbones.yaml"))[name]
    training, evaluation = (runs.read_json(folder / f"{f}.json") for f in ("training", "evaluation"))
    phases = {phase: fit for phase, fit in _phases(recipe, training).items() if phase in training["seconds"]}
    lines = [
        _HEAD.format(name=name, **told),
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
    """Return a description of the weights that the post-training starts from."""
    if isinstance(recipe, SmallerRecipe):
        return f"random weights, with the tokenizer of `{recipe.base}`"
    return f"`{recipe.base}`"


def _left(llm: str) -> list[str]:
    """Return the skills before and after tuning on slots, for the measured trainings of profile `mini`."""
    left = retention.read(llm)
    if left.empty:
        return []
    told = f"\nBy variants of the studies at profile `mini`: {retention.caption(left)}\n"
    return [told, retention.display(left).to_markdown(index=False, disable_numparse=True)]


def _skills(measured: dict[str, dict]) -> list[str]:
    """Return a table of held-out skills, one column per mode."""
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
