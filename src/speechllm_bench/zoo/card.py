"""A backbone's model card, written from its records alone."""

from __future__ import annotations

from pathlib import Path

from speechllm_bench import runs
from speechllm_bench.zoo.config import AudioLLMRecipe, Recipe

_HEAD = """---
license: cc-by-4.0
language: en
library_name: transformers
tags: [speechllm-bench, {tag}]
---
# {name}

{what} Trained from scratch by this project on synthetic text and speech of its own; it stands in for
{stands_for} in the profiles `smoke` and `mini`, and is of no use outside of them.
"""

_WHAT = {  # what it is, what it stands for, its tag on model hubs
    "audio-llm-mini": (
        "A small Qwen2-Audio that transcribes telephone speech and fills fields named in its prompt from it, "
        "on field names that the corpus does not have; grown from whisper-mini's encoder and llm-mini.",
        "Qwen2-Audio-7B-Instruct",
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
        "A small Llama that has read the language of the embedded corpus; the parent of llm-mini, which "
        "follows instructions.",
        "Llama-3.2-1B",
        "text-generation",
    ),
}


def text(folder: Path, name: str, recipe: Recipe) -> str:
    """The card: size, data, steps, time and measured quality."""
    what, stands_for, tag = _WHAT[name]
    training, evaluation = (runs.read_json(folder / f"{f}.json") for f in ("training", "evaluation"))
    phases = {phase: fit for phase, fit in recipe.phases().items() if phase in training["seconds"]}
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
        cells = [f"{v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]" for v in values.values()]
        first = values[names[0]]
        lines.append(f"| {split} | {' | '.join(cells)} | {first['n']} | {first['n_speakers']} |")
    lines.append(f"\nLicence of the weights: CC BY 4.0. The recipe is `experiments/zoo/{recipe.name}.yaml`.")
    return "\n".join(lines) + "\n"
