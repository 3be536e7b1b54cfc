"""Shared training code of the zoo's models: the call of the training loop, tokenizers, batches of
text, greedy answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from speechllm_bench.data import synthesis
from speechllm_bench.data.frames import FrameStore, FrameWriter
from speechllm_bench.models.inputs import Batch, collate
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.training.loop import FitResult, fit
from speechllm_bench.zoo.recipes import Phase, Recipe

Progress = Callable[[str, float], None]
"""Takes the name of a phase and the share of it that is done (0 to 1)."""


Spoken: TypeAlias = tuple[Utterance, np.ndarray]
"""An utterance and its samples (n,) at 16 kHz."""


@dataclass(frozen=True)
class Item:
    """A question with its input: an utterance that is heard, or a text that is read."""

    example: Example
    text: str | list[int]  # token ids if it is split into pieces
    spoken: Utterance | None = None  # None: the text is read


@dataclass(frozen=True)
class Course:
    """A recipe in training, with the folder of its checkpoints and the callback for progress."""

    recipe: Recipe
    checkpoints: Path
    progress: Progress

    def fit(
        self,
        phase: Phase,
        name: str,
        parameters: dict[str, nn.Parameter],
        batches: Sequence,
        loss: Callable[[Any], dict[str, Tensor]],
        validate: Callable[[], dict[str, float]],
    ) -> FitResult:
        """Train one phase with `training.loop.fit`. UserError where it diverges."""
        return fit(
            phase,
            parameters,
            batches,
            loss,
            validate,
            self.checkpoints / name,
            self.recipe.seed,
            autocast=phase.in_bf16,
            progress=lambda share: self.progress(name.replace("_", "-"), share),
        ).sound(self.recipe.name, name)


def spoken_features(
    name: str,
    utterances: Sequence[Utterance],
    features: Callable[[Iterator[Spoken]], Iterable[tuple[str, np.ndarray]]],
    width: int,
    key: dict,
    n_workers: int,
    *origin: str,
) -> FrameStore:
    """Speak utterances and compute their features (T, width), by id, once; later they are read from disk.

    key: that of the store. origin: what the features depend on besides the speech.
    """
    said = [[u.transcript, asdict(u.voice)] for u in utterances if u.voice]
    made_of = runs.digest(synthesis.SYNTHESIS_VERSION, version("espeakng-loader"), *origin, said)
    folder = paths.cache() / "zoo" / f"{name}-{made_of}"
    with runs.lock(folder):
        if not folder.is_dir():
            with FrameWriter(folder, width, key) as writer:
                for id, found in features(synthesis.speak_all(utterances, n_workers)):
                    writer.add(id, found)
    return FrameStore.open(folder)


def byte_level_bpe(
    lines: Iterable[str], vocabulary: int, special: list[str], alphabet: list[str]
) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def read_batch(tokenizer: PreTrainedTokenizerBase, items: Sequence[Item], with_answer: bool = True) -> Batch:
    """Return a batch of questions about texts that are read."""
    return collate(
        tokenizer,
        [item.example for item in items],
        transcripts=[item.text for item in items],
        with_answer=with_answer,
    )


def answers(
    model: SpeechLLM, tokenizer: PreTrainedTokenizerBase, batch: Batch, max_new_tokens: int
) -> list[str]:
    """Return greedy answers to a batch without answers, one per row."""
    ids = model.generate(batch, max_new_tokens, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return tokenizer.batch_decode(ids, skip_special_tokens=True)


def exact_share(said: Sequence[str], items: Sequence[Item]) -> float:
    right = [answer == item.example.target for answer, item in zip(said, items, strict=True)]
    return sum(right) / len(right)
