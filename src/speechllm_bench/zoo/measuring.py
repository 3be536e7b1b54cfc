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
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import slots, trace, transcription
from speechllm_bench.tasks.traced_slots import SWITCHED
from speechllm_bench.zoo import model_card, recipes

TURNS = 500  # per split
SPLITS = ("validation", "A-test", "B-test")


def evaluate_backbones(name: str, n_workers: int) -> list[Path]:
    """Measure the backbones of recipe `name` and return their folders."""
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
    if isinstance(recipe, recipes.LLMRecipe | recipes.MixtureRecipe):
        measured = _measure_llm(name, recipe, corpus)
    elif isinstance(recipe, recipes.AudioLLMRecipe):
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
    runs.write_text(folder / "README.md", model_card.card(folder, name, recipe))
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
        predictions = [
            Prediction(u.id, u.id, u.speaker, transcription.NAME, text, u.transcript, (), 0, u.transcript)
            for u, text in zip(utterances, said, strict=True)
        ]
        measured[split] = _intervals(score.score_task(transcription.NAME, predictions), ("wer", "cer"))
    return measured


def _measure_llm(name: str, recipe: recipes.LLMRecipe | recipes.MixtureRecipe, corpus: Corpus) -> dict:
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
    switched = isinstance(recipe, recipes.MixtureRecipe) and recipe.switched
    splits = {}
    for task, switch in SWITCHED.items() if switched else ((slots.NAME, ""),):
        for split, ood in (*((split, False) for split in SPLITS), ("B-test", True)):
            utterances = corpus.utterances(split)
            asked = [questions.evaluation_example(u, slot_types, task, ood) for u in utterances]
            gold = [u.transcript for u in utterances]
            said = decode(
                model,
                tokenizer,
                asked,
                utterances,
                transcripts=gold,
                batch_size=100,
                max_new_tokens=skills.ANSWER_TOKENS,
            )
            scored = score.score_task(slots.NAME, said, lambda raw: trace.parse(raw).answer)
            key = f"{split} out-of-domain" if ood else split
            key += f" {switch}" if switched else ""
            splits[key] = _intervals(scored, ("precision", "recall", "f1", "parse_failures"))
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
        asked = {split: False} | ({f"{split} out-of-domain": True} if split == "B-test" else {})
        for key, ood in asked.items():
            filled = score.score_task(slots.NAME, said(slots.NAME, ood, turns, frames))
            names = ("precision", "recall", "f1", "parse_failures")
            measured[key] = _intervals(heard, ("wer", "cer")) | _intervals(filled, names)
    return measured


def _intervals(scored: dict, names: tuple[str, ...]) -> dict:
    return {name: scored["metrics"][name] for name in names}
