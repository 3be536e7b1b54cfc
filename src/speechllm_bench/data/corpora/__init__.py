"""Corpora: each module turns one source of speech into `Utterance` records.

The functions here choose by name. A corpus is known by its recipe: plain JSON over everything that its
transcripts and its speech depend on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version

import numpy as np

from speechllm_bench.data import neural_voices
from speechllm_bench.data.corpora import (
    call_centre,
    common_voice,
    exclusions,
    fluent_speech,
    harper_valley,
    languages,
    librispeech_slue,
    own_recordings,
    slue_hvb,
    slurp,
)
from speechllm_bench.data.corpora.call_centre.splits import FORMANT, NEURAL
from speechllm_bench.data.corpora.scope import Scope
from speechllm_bench.data.synthesis import SYNTHESIS_VERSION
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings.config import CorpusConfig
from speechllm_bench.storage.schema import ALL_GOLD, SlotType, Utterance

RECORDED = {
    "slurp": slurp,
    "librispeech_slue": librispeech_slue,
    "harper_valley": harper_valley,
    "fluent_speech": fluent_speech,
    "slue_hvb": slue_hvb,
    "common_voice": common_voice,
    "own": own_recordings,
}
"""Recorded corpora, by their names in CorpusConfig; the others are synthesised."""

EDITIONS = {edition.corpus: edition for edition in (FORMANT, NEURAL)}
"""Editions of the embedded call centre, by their names in CorpusConfig."""


def recipe(name: str) -> dict:
    """What the corpus is made from; part of every digest (protocol, rule 16). MissingInput: not here."""
    if name in RECORDED:
        whole = RECORDED[name].recipe()
        left_out = exclusions.known(name, whole)
        return whole | ({"excluded": sorted(left_out)} if left_out else {})
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


def scope_of(name: str) -> Scope:
    """What can be asked of a corpus; none of its files are read."""
    if name in RECORDED:
        return RECORDED[name].SCOPE
    return Scope(EDITIONS[name].splits, (frozenset(ALL_GOLD),), dialogue=True, recorded=False)


def slot_types(name: str) -> dict[str, SlotType]:
    """By their names; none of a corpus that has no slots."""
    return RECORDED.get(name, call_centre).slot_types()


def utterances(corpus: CorpusConfig) -> dict[str, list[Utterance]]:
    """Every split's caller turns, as many as the profile asks for."""
    if recorded := RECORDED.get(corpus.name):
        sizes = _sizes(corpus)
        left_out = exclusions.known(corpus.name, recorded.recipe())
        return {
            split: [u for u in recorded.utterances(split, n) if u.id not in left_out]
            for split, n in sizes.items()
        }
    edition = EDITIONS[corpus.name]
    return {split: call_centre.utterances(split, n, edition) for split, n in corpus.sizes.items()}


def _sizes(corpus: CorpusConfig) -> dict[str, int | None]:
    """How many recordings are taken of each split of a recorded corpus, None: all."""
    splits = RECORDED[corpus.name].SPLITS
    named: dict[str, int | None] = {split: n for split, n in corpus.sizes.items() if split in splits}
    return named or dict.fromkeys(splits)


def skip_missing(corpus: CorpusConfig) -> dict[str, str]:
    """Leave out from now on what recordings of a published corpus cannot be read; returns why, by id."""
    recorded = RECORDED.get(corpus.name)
    if recorded is None:
        return {}
    sizes = _sizes(corpus)
    turns = (turn for split, n in sizes.items() for turn in recorded.utterances(split, n))
    return exclusions.find(corpus.name, recorded.recipe(), sizes, turns, recorded.recording)


def left_out(corpus: CorpusConfig) -> dict[str, str]:
    """Recordings that a corpus is without, and why; none where its files are not on this machine."""
    if corpus.name not in RECORDED:
        return {}
    try:
        return exclusions.known(corpus.name, RECORDED[corpus.name].recipe())
    except MissingInput:
        return {}


def miscounted(name: str) -> list[str]:
    """Phrases on parts of a published corpus that are not as large as their authors tell; MissingInput."""
    if name not in RECORDED:
        return []
    counts = RECORDED[name].counts().items()
    return [f"{part} has {n:,} and not {told:,}" for part, (n, told) in counts if told not in (n, None)]


def speaks_slowly(name: str) -> bool:
    """Whether synthesis takes hours, so that what is spoken is kept clip by clip."""
    return name == NEURAL.corpus


def recording(name: str) -> Callable[[Utterance], np.ndarray] | None:
    """What reads an utterance's samples (n,), at 16 kHz; None where they are synthesised."""
    return partial(_told, RECORDED[name].recording) if name in RECORDED else None


def _told(read: Callable[[Utterance], np.ndarray], utterance: Utterance) -> np.ndarray:
    try:
        return read(utterance)
    except MissingInput:
        raise
    except UserError as error:
        raise UserError(f"{error}; or start with --skip-missing, which leaves such recordings out") from None
