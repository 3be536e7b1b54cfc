"""Corpora: each module turns one source of speech into `Utterance` records.

The functions here choose by name. A corpus is known by its recipe: plain JSON over everything that its
transcripts and its speech depend on.
"""

from __future__ import annotations

from importlib.metadata import version

from speechllm_bench.config import CorpusConfig
from speechllm_bench.data.corpora import call_centre, languages
from speechllm_bench.data.synthesis import SYNTHESIS_VERSION
from speechllm_bench.errors import UserError
from speechllm_bench.schema import SlotType, Utterance


def recipe(name: str) -> dict:
    """What the corpus is made from; part of every digest (protocol, rule 16)."""
    _embedded_alone(name)
    return {"corpus": name, "text": call_centre.recipe_hash(), **speech_recipe()}


def speech_recipe() -> dict:
    """What decides how a text is spoken."""
    return {"synthesis": SYNTHESIS_VERSION, "espeakng_loader": version("espeakng-loader")}


def languages_recipe() -> dict:
    """What the turns in other languages are made from."""
    return {"corpus": "languages", "text": languages.recipe_hash(), **speech_recipe()}


def slot_types(name: str) -> dict[str, SlotType]:
    _embedded_alone(name)
    return call_centre.slot_types()


def utterances(corpus: CorpusConfig) -> dict[str, list[Utterance]]:
    """Every split's caller turns, as many as the profile asks for."""
    _embedded_alone(corpus.name)
    return {split: call_centre.utterances(split, n) for split, n in corpus.sizes.items()}


def _embedded_alone(name: str) -> None:
    if name != "call_centre":
        raise UserError(
            f"corpus '{name}' cannot be read yet, its profile is NOT RUN; the embedded one is 'call_centre'"
        )
