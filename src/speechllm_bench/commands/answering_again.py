"""Shipped weights answer shipped test turns again.

`results/<profile>/stages/` holds the trained weights, one folder per stage, in 16 bits.
`results/<profile>/turns/` holds the audio of the test turns.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.planning import places
from speechllm_bench.running import preparation
from speechllm_bench.running.evaluating import evaluate
from speechllm_bench.settings.config import CorpusConfig, RunConfig
from speechllm_bench.storage import paths, sealed

BATCH = 32
"""Most answers of a batch of a sample on a CPU. Turns of similar length are together, so little is padded.

64 answers of a text LLM took 31.5 CPU-seconds in a batch of 64, 24.6 in batches of 32 and 26.1 in batches of
16 (SmolLM2-135M in fp32, AVX2, one core). All answers were the same.
"""


def turns_folder(profile: str) -> Path:
    return paths.results(profile) / "turns"


def all_shipped(profile: str, stages: Sequence[str]) -> bool:
    """Return whether the run was trained and all its stages are on disk."""
    return bool(stages) and all(places.stage_done(profile, digest) for digest in stages)


class Shipped:
    """A profile's shipped weights and test turns. Keeps its corpora and the last model in memory."""

    def __init__(self, profile: str) -> None:
        self.profile = profile
        self._corpora: dict[str, Corpus] = {}
        self._stages: tuple[str, ...] = ()  # digests of the stages that trained `_model`
        self._model: tuple[Any, Any] = (None, None)  # with its tokenizer

    def corpus(self, config: CorpusConfig) -> Corpus:
        """Return the shipped test splits. Raises errors as `shipped.shipped_utterances` does."""
        if (key := repr(config)) not in self._corpora:
            self._corpora[key] = preparation.ensure_shipped(config, turns_folder(self.profile))
        return self._corpora[key]

    def has(self, config: RunConfig) -> bool:
        """Return whether the turns of the run's test set are shipped."""
        return config.evaluation.split in self.corpus(config.tested).splits

    def answer(
        self,
        config: RunConfig,
        stages: Sequence[str],
        again: Path,
        only: Set[str] | None = None,
        heard: Set[str] | None = None,
    ) -> str:
        """Write the answers and scores of shipped weights into `again`. Return the kind of device.

        stages: digests of the run's stages. only: ids of the turns to answer; None: all. heard: ids of all
        turns of the split whose encoder frames this run or another one needs; None: all.
        """
        from tqdm import tqdm

        from speechllm_bench.training.stages import Data

        corpus, split = self.corpus(config.tested), config.evaluation.split
        frames = None
        if config.hears:
            frames = preparation.ensure_shipped_frames(config, corpus, split, heard)
        asr = config.evaluation.text == "asr"
        recognised = preparation.ensure_transcripts(config, corpus, split, only) if asr else {}
        model, tokenizer = self._trained(config, tuple(stages), frames.dim if frames else None)
        data = Data([], [], corpora.slot_types(config.tested.name), frames, recognised)
        kind = model.llm.device.type
        with tqdm(total=100, desc="answers", unit="%", leave=False, mininterval=1) as bar:

            def progress(_, share: float) -> None:
                bar.update(100 * share - bar.n)

            fitted = _in_small_batches(config) if only is not None and kind == "cpu" else config
            evaluate(fitted, model, tokenizer, corpus, data, again, progress, only)
        return kind

    def _trained(self, config: RunConfig, stages: tuple[str, ...], d_encoder: int | None) -> tuple[Any, Any]:
        """Return the run's trained model and its tokenizer. Raises UserError where weights are damaged."""
        from speechllm_bench.training import loop
        from speechllm_bench.training.stages import build_model

        if stages != self._stages:
            self._stages, self._model = (), (None, None)  # only one model is in memory
            model, tokenizer = build_model(config, d_encoder)
            for stage, digest in zip(config.stages, stages, strict=True):
                folder = places.stage_folder(self.profile, digest)
                sealed.read(folder / "stage.json", "bring it back with `git checkout`")
                loop.load_weights(model.trained_parameters(stage.train), folder / "weights.safetensors")
            self._stages, self._model = stages, (model, tokenizer)
        return self._model


def _in_small_batches(config: RunConfig) -> RunConfig:
    size = min(config.evaluation.batch_size, BATCH)
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"batch_size": size})})
