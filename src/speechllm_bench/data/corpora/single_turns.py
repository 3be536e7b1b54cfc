"""A corpus to look into without its audio on disk: a turn is decoded or spoken when it is heard."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import soundfile

from speechllm_bench.data import corpora, synthesis
from speechllm_bench.data.audio import SAMPLE_RATE
from speechllm_bench.data.corpora import shipped
from speechllm_bench.errors import UserError
from speechllm_bench.settings.corpus_config import CorpusConfig
from speechllm_bench.storage.schema import Utterance


class SingleTurns:
    """The utterances of a corpus, with the audio of single turns.

    turns: folder of shipped turns of the corpus, which may be missing. speaks: called before a synthesis.
    """

    def __init__(self, corpus: CorpusConfig, turns: Path, speaks: Callable[[], None] = lambda: None) -> None:
        self._corpus, self._turns, self._speaks = corpus, turns, speaks
        self._samples = lru_cache(maxsize=64)(self._read)

    @cached_property
    def _utterances(self) -> dict[str, list[Utterance]]:
        return corpora.utterances(self._corpus)

    def utterances(self, split: str) -> list[Utterance]:
        """Return the utterances of a split, as `Corpus.utterances` does. Empty for an unknown split."""
        return list(self._utterances.get(split, ()))

    def audio(self, split: str, index: int) -> np.ndarray:
        """Return the audio (n,) of one utterance at 16 kHz: shipped, else recorded, else spoken now.

        The index is that of `utterances`. Raises UserError as `speak_all` does.
        """
        return self._samples(split, index)

    def n_samples(self, split: str) -> np.ndarray:
        """Return the lengths of all the split's utterances, in samples at 16 kHz, by making all of them."""
        return np.array([len(samples) for samples in self._made(split, range(len(self.utterances(split))))])

    def wav(self, split: str, utterance_id: str) -> bytes:
        """Return the audio of one utterance as a wav file. Raises UserError if it is not in the corpus."""
        ids = [utterance.id for utterance in self.utterances(split)]
        if utterance_id not in ids:
            raise UserError(f"turn {utterance_id} is not in the current corpus {self._corpus.name}")
        buffer = io.BytesIO()
        samples = self.audio(split, ids.index(utterance_id))
        soundfile.write(buffer, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        return buffer.getvalue()

    def _read(self, split: str, index: int) -> np.ndarray:
        (samples,) = self._made(split, [index])
        return samples

    def _made(self, split: str, indices: Iterable[int]) -> Iterator[np.ndarray]:
        wanted = [self._utterances[split][index] for index in indices]
        if (self._turns / f"{split}.parquet").is_file():
            yield from map(shipped.recording(self._turns), wanted)
        elif recorded := corpora.recording(self._corpus.name):
            yield from map(recorded, wanted)
        else:
            self._speaks()
            yield from (samples for _, samples in synthesis.speak_all(wanted, 1, progress=False))
