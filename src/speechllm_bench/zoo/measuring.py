"""Measures a backbone of the zoo on held-out turns of the corpus, and writes its model card.

whisper-mini: ASR on validation, A-test and B-test. Text LLMs: slots filled from gold transcripts without any
tuning, and other skills (`skills.py`). Untuned slot filling should be above zero and far from good. The study
`backbones` shows what llm-mini reaches with tuning. audio-llm-mini: transcription, and slots filled from
speech without any tuning.
"""

from __future__ import annotations

from pathlib import Path

from speechllm_bench.data import corpora, questions
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score
from speechllm_bench.running import preparation
from speechllm_bench.settings.config import CorpusConfig
from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.stats import with_interval
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import slots, trace, transcription
from speechllm_bench.tasks.traced_slots import SWITCHED
from speechllm_bench.zoo import recipes
from speechllm_bench.zoo.recipes import AudioLLMRecipe, LLMRecipe, MixtureRecipe, Phase, Recipe, SmallerRecipe

TURNS = 500  # per split
SPLITS = ("validation", "A-test", "B-test")
ASKED = {split: (split, False) for split in SPLITS} | {"B-test out-of-domain": ("B-test", True)}
"""Row of the card -> split, and whether the questions on it are out-of-domain."""

FILLED = ("precision", "recall", "f1", "parse_failures")  # metrics of slot filling


def evaluate_backbones(name: str, n_workers: int) -> list[Path]:
    recipes.load_recipe(name)
    return [
        _evaluate(backbone, n_workers) for backbone, recipe in recipes.BACKBONES.items() if recipe == name
    ]


def _evaluate(name: str, n_workers: int) -> Path:
    """Measure one backbone and write evaluation.json and README.md into its folder."""
    recipe = recipes.load_recipe(recipes.BACKBONES[name])
    folder = recipes.folder(name)
    if not folder.is_dir():
        raise UserError(f"zoo/{name} is not there; train it with `speechllm-bench zoo train {recipe.name}`")
    corpus = preparation.ensure_corpus(
        CorpusConfig(name="call_centre", sizes=dict.fromkeys(SPLITS, TURNS)), n_workers
    )
    if isinstance(recipe, LLMRecipe | MixtureRecipe):
        measured = _measure_llm(name, recipe, corpus)
    elif isinstance(recipe, AudioLLMRecipe):
        measured = {"splits": _measure_audio_llm(name, corpus)}
    else:
        measured = {"splits": _measure_whisper(name, corpus)}
    record = {
        **measured,
        "corpus": corpus.fingerprint,
        "weights_sha256": runs.file_sha256(folder / "model.safetensors"),
        "environment": runs.environment(),
    }
    runs.write_json(folder / "evaluation.json", record)
    runs.write_text(folder / "README.md", card(folder, name, recipe))
    return folder


def _measure_whisper(name: str, corpus: Corpus) -> dict:
    from speechllm_bench.models.asr import load_asr, transcribe

    model, tokenizer = load_asr(f"zoo/{name}")
    measured = {}
    for split in SPLITS:
        utterances = corpus.utterances(split)
        said = transcribe(
            model, tokenizer, [corpus.audio(split, i) for i in range(len(utterances))], "trimmed"
        )
        measured[split] = _intervals(score.score_transcripts(utterances, said), ("wer", "cer"))
    return measured


def _measure_llm(name: str, recipe: LLMRecipe | MixtureRecipe, corpus: Corpus) -> dict:
    """Measure slot filling by split, and other skills. An LLM with a switch is measured in both modes.

    A reasoning LLM thinks without being asked. So for all LLMs the answer is parsed after any thought.
    """
    from speechllm_bench.models.decoding import decode
    from speechllm_bench.models.llm import load_llm, load_tokenizer
    from speechllm_bench.models.speech_llm import SpeechLLM
    from speechllm_bench.zoo import skills

    folder = str(recipes.folder(name))
    model, tokenizer = SpeechLLM(load_llm(folder), adapter=None), load_tokenizer(folder)
    slot_types = corpora.slot_types("call_centre")
    switched = isinstance(recipe, MixtureRecipe) and recipe.switched
    splits = {}
    for task, switch in SWITCHED.items() if switched else ((slots.NAME, ""),):
        for key, (split, ood) in ASKED.items():
            utterances = corpus.utterances(split)
            asked = [questions.evaluation_example(u, slot_types, task, ood) for u in utterances]
            gold, most = [u.transcript for u in utterances], skills.ANSWER_TOKENS
            said = decode(
                model, tokenizer, asked, utterances, transcripts=gold, batch_size=100, max_new_tokens=most
            )
            scored = score.score_task(slots.NAME, said, lambda raw: trace.parse(raw).answer)
            splits[f"{key} {switch}" if switched else key] = _intervals(scored, FILLED)
    return {"splits": splits, "skills": skills.measure(model, tokenizer, recipe)}


def _measure_audio_llm(name: str, corpus: Corpus) -> dict:
    from speechllm_bench.models import audio_llm
    from speechllm_bench.models.decoding import decode
    from speechllm_bench.models.llm import load_tokenizer
    from speechllm_bench.models.speech_llm import SpeechLLM

    folder = str(recipes.folder(name))
    whole, tokenizer = audio_llm.load_audio_llm(folder), load_tokenizer(folder)
    model, tower = SpeechLLM(*audio_llm.language_parts(whole)), whole.model.audio_tower
    slot_types = corpora.slot_types("call_centre")

    def said(task: str, ood: bool, turns: list, frames: list) -> list[Prediction]:
        asked = [questions.evaluation_example(u, slot_types, task, ood) for u in turns]
        return decode(model, tokenizer, asked, turns, frames=frames, batch_size=100, max_new_tokens=96)

    measured = {}
    for split in SPLITS:
        turns = corpus.utterances(split)
        found = dict(audio_llm.encode(tower, [corpus.audio(split, i) for i in range(len(turns))]))
        frames = [found[i] for i in range(len(turns))]
        heard = score.score_task(transcription.NAME, said(transcription.NAME, False, turns, frames))
        for key, (tested, ood) in ASKED.items():
            if tested == split:
                filled = score.score_task(slots.NAME, said(slots.NAME, ood, turns, frames))
                measured[key] = _intervals(heard, ("wer", "cer")) | _intervals(filled, FILLED)
    return measured


def _intervals(scored: dict, names: tuple[str, ...]) -> dict:
    return {name: scored["metrics"][name] for name in names}


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
        fresh = isinstance(recipe, SmallerRecipe)
        start = "random weights, with the tokenizer of " * fresh + f"`{recipe.base}`"
        lines.append(f"| starts from | {start} |")
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


def _left(llm: str) -> list[str]:
    """Return the skills before and after tuning on slots, for the measured trainings of profile `mini`."""
    from speechllm_bench.zoo import skills

    left = skills.read_retained(llm)
    if left.empty:
        return []
    told = f"\nBy variants of the studies at profile `mini`: {skills.retained_caption(left)}\n"
    return [told, skills.display_retained(left).to_markdown(index=False, disable_numparse=True)]


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
