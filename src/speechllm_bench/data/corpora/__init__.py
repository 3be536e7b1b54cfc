"""Corpora: each module turns one source of speech into `Utterance` records.

The functions here choose by name. A corpus is known by its recipe: plain JSON over everything that its
transcripts and its speech depend on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import version

import numpy as np

from speechllm_bench.config import CorpusConfig
from speechllm_bench.data import neural_voices
from speechllm_bench.data.corpora import call_centre, languages, librispeech_slue, slurp
from speechllm_bench.data.corpora.call_centre.splits import FORMANT, NEURAL
from speechllm_bench.data.synthesis import SYNTHESIS_VERSION
from speechllm_bench.schema import SlotType, Utterance

RECORDED = {"slurp": slurp, "librispeech_slue": librispeech_slue}
"""Published corpora, by their names in CorpusConfig; the others are synthesised."""

EDITIONS = {edition.corpus: edition for edition in (FORMANT, NEURAL)}
"""Editions of the embedded call centre, by their names in CorpusConfig."""


def recipe(name: str) -> dict:
    """What the corpus is made from; part of every digest (protocol, rule 16). MissingInput: not here."""
    if name in RECORDED:
        return RECORDED[name].recipe()
    speech = speech_recipe() if name == FORMANT.corpus else neural_speech_recipe()
    return {"corpus": name, "text": call_centre.recipe_hash(EDITIONS[name]), **speech}


@cache
def neural_speech_recipe() -> dict:
    """What decides how a text is spoken by the neural voices."""
    return {"synthesis": SYNTHESIS_VERSION, **neural_voices.recipe()}


@cache
def speech_recipe() -> dict:
    """What decides how a text is spoken."""
    return {"synthesis": SYNTHESIS_VERSION, "espeakng_loader": version("espeakng-loader")}


def languages_recipe() -> dict:
    """What the turns in other languages are made from."""
    return {"corpus": "languages", "text": languages.recipe_hash(), **speech_recipe()}


def slot_types(name: str) -> dict[str, SlotType]:
    """By their names; none of a corpus that has no slots."""
    return RECORDED.get(name, call_centre).slot_types()


def utterances(corpus: CorpusConfig) -> dict[str, list[Utterance]]:
    """Every split's caller turns, as many as the profile asks for."""
    if recorded := RECORDED.get(corpus.name):
        sizes = corpus.sizes or dict.fromkeys(recorded.SPLITS)
        return {split: recorded.utterances(split, n) for split, n in sizes.items()}
    edition = EDITIONS[corpus.name]
    return {split: call_centre.utterances(split, n, edition) for split, n in corpus.sizes.items()}


def speaks_slowly(name: str) -> bool:
    """Whether synthesis takes hours, so that what is spoken is kept clip by clip."""
    return name == NEURAL.corpus


def recording(name: str) -> Callable[[Utterance], np.ndarray] | None:
    """What reads an utterance's samples (n,), at 16 kHz; None where they are synthesised."""
    return RECORDED[name].recording if name in RECORDED else None
