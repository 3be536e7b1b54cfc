"""What every run needs and none should compute twice: the corpus on disk, and its encoder frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speechllm_bench import identity, paths, runs
from speechllm_bench.config import CorpusConfig, RunConfig
from speechllm_bench.data import corpora
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.data.frames import FrameStore, FrameWriter

if TYPE_CHECKING:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder


def corpus_folder(corpus: CorpusConfig) -> Path:
    return paths.cache() / "corpora" / f"{corpus.name}-{identity.corpus_digest(corpus)}"


def frames_folder(config: RunConfig) -> Path:
    return paths.cache() / "frames" / identity.frames_digest(config)


def ensure_corpus(corpus: CorpusConfig, n_workers: int) -> Corpus:
    """The corpus from disk, spoken first where it is not there."""
    folder = corpus_folder(corpus)
    with runs.lock(folder):
        if not folder.is_dir():
            from speechllm_bench.data.corpora import store

            store.build(corpora.utterances(corpus), folder, corpora.recipe(corpus.name), n_workers)
    return Corpus.load(folder)


def ensure_frames(config: RunConfig, corpus: Corpus) -> FrameStore:
    """Encoder frames of all the corpus's splits but the zoo's, encoded first where they are not there."""
    folder = frames_folder(config)
    with runs.lock(folder):
        if not folder.is_dir():
            from speechllm_bench.models.encoder import load_encoder

            _encode(load_encoder(config.encoder.path), config, corpus, folder)
    store = FrameStore.open(folder)
    store.verify()
    return store


def _encode(encoder: WhisperEncoder, config: RunConfig, corpus: Corpus, folder: Path) -> None:
    import torch
    from tqdm import tqdm

    from speechllm_bench.models.encoder import encode

    if torch.cuda.is_available():
        encoder = encoder.to("cuda")
    key = {
        "encoder": identity.backbone_hash(config.encoder.path),
        "padding": config.encoder.padding,
        "corpus": corpus.fingerprint,
    }
    total = sum(len(corpus.n_samples(split)) for split in corpus.splits)
    with (
        FrameWriter(folder, encoder.config.d_model, key) as writer,
        tqdm(total=total, desc="encoder frames", unit="utt", mininterval=1) as bar,
    ):
        for split in corpus.splits:
            utterances = corpus.utterances(split)
            # A thousand utterances' audio at a time is sorted by length, so memory stays small.
            for start in range(0, len(utterances), 1000):
                chunk = range(start, min(start + 1000, len(utterances)))
                audio = [corpus.audio(split, i) for i in chunk]
                for i, frames in encode(encoder, audio, config.encoder.padding):
                    writer.add(utterances[start + i].id, frames)
                    bar.update()
