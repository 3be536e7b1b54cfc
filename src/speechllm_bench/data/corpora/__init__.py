"""Corpora: each module turns one source of speech into `Utterance` records.

The functions here select a corpus by name. A corpus is identified by its recipe: plain JSON of everything
that its transcripts and its speech depend on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version

import numpy as np

from speechllm_bench.data import neural_voices
from speechllm_bench.data.corpora import call_centre, exclusions, languages
from speechllm_bench.data.corpora.call_centre.splits import FORMANT, NEURAL
from speechllm_bench.data.corpora.common_voice import CommonVoice
from speechllm_bench.data.corpora.fluent_speech import FluentSpeech
from speechllm_bench.data.corpora.harper_valley import HarperValley
from speechllm_bench.data.corpora.librispeech_slue import LibriSpeechSlue
from speechllm_bench.data.corpora.own_recordings import OwnRecordings
from speechllm_bench.data.corpora.recorded import Recorded, Scope
from speechllm_bench.data.corpora.slue_hvb import SlueHvb
from speechllm_bench.data.corpora.slurp import Slurp
from speechllm_bench.data.synthesis import SYNTHESIS_VERSION
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings.config import CorpusConfig
from speechllm_bench.storage.schema import ALL_GOLD, SlotType, Utterance

READERS = (Slurp, LibriSpeechSlue, HarperValley, FluentSpeech, SlueHvb, CommonVoice, OwnRecordings)
RECORDED: dict[str, Recorded] = {reader.name: reader() for reader in READERS}
"""Recorded corpora, by their names in CorpusConfig. All others are synthesised."""

EDITIONS = {edition.corpus: edition for edition in (FORMANT, NEURAL)}
"""Editions of the embedded call centre, by their names in CorpusConfig."""


def recipe(name: str) -> dict:
    """Return what the corpus is made from, which is part of every digest (protocol, rule 16).

    Raises MissingInput if files of the corpus are not on this machine.
    """
    if name in RECORDED:
        whole = RECORDED[name].recipe()
        left_out = exclusions.known(name, whole)
        return whole | ({"excluded": sorted(left_out)} if left_out else {})
    speech = speech_recipe() if name == FORMANT.corpus else neural_speech_recipe()
    return {"corpus": name, "text": call_centre.recipe_hash(EDITIONS[name]), **speech}


@cache
def neural_speech_recipe() -> dict:
    return {"synthesis": SYNTHESIS_VERSION, **neural_voices.recipe()}


@cache
def speech_recipe() -> dict:
    return {"synthesis": SYNTHESIS_VERSION, "espeakng_loader": version("espeakng-loader")}


def languages_recipe() -> dict:
    return {"corpus": "languages", "text": languages.recipe_hash(), **speech_recipe()}


def scope_of(name: str) -> Scope:
    """Return what can be asked of a corpus, without reading its files."""
    if name in RECORDED:
        return RECORDED[name].scope
    return Scope(EDITIONS[name].splits, (frozenset(ALL_GOLD),), dialogue=True, recorded=False)


def slot_types(name: str) -> dict[str, SlotType]:
    return RECORDED[name].slot_types() if name in RECORDED else call_centre.slot_types()


def utterances(corpus: CorpusConfig) -> dict[str, list[Utterance]]:
    """Return the caller turns of every split, as many as the config asks for."""
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
    """Return the number of recordings by split of a recorded corpus; None: all."""
    splits = RECORDED[corpus.name].splits
    named: dict[str, int | None] = {split: n for split, n in corpus.sizes.items() if split in splits}
    return named or dict.fromkeys(splits)


def skip_missing(corpus: CorpusConfig) -> dict[str, str]:
    """Exclude unreadable recordings of a published corpus from now on. Return the reasons by utterance id."""
    recorded = RECORDED.get(corpus.name)
    if recorded is None:
        return {}
    sizes = _sizes(corpus)
    turns = (turn for split, n in sizes.items() for turn in recorded.utterances(split, n))
    return exclusions.find(corpus.name, recorded.recipe(), sizes, turns, recorded.recording)


def left_out(corpus: CorpusConfig) -> dict[str, str]:
    """Return the excluded recordings of a corpus with reasons; empty if its files are not on this machine."""
    if corpus.name not in RECORDED:
        return {}
    try:
        return exclusions.known(corpus.name, RECORDED[corpus.name].recipe())
    except MissingInput:
        return {}


def miscounted(name: str) -> list[str]:
    """Return a phrase for each part of a published corpus whose size is not the published one.

    Raises MissingInput if the corpus is not on this machine.
    """
    if name not in RECORDED:
        return []
    counts = RECORDED[name].counts().items()
    return [f"{part} has {n:,} and not {told:,}" for part, (n, told) in counts if told not in (n, None)]


def speaks_slowly(name: str) -> bool:
    """Whether synthesis takes hours, so that its clips are stored one by one."""
    return name == NEURAL.corpus


def recording(name: str) -> Callable[[Utterance], np.ndarray] | None:
    """Return a function from an utterance to its samples (n,) at 16 kHz; None for synthesised speech."""
    return partial(_told, RECORDED[name].recording) if name in RECORDED else None


def _told(read: Callable[[Utterance], np.ndarray], utterance: Utterance) -> np.ndarray:
    try:
        return read(utterance)
    except MissingInput:
        raise
    except UserError as error:
        raise UserError(f"{error}; or start with --skip-missing, which leaves such recordings out") from None
