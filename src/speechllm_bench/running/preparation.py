"""Shared inputs of runs, computed once: the corpus on disk, its encoder frames, its ASR transcripts."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import partial
from pathlib import Path

from speechllm_bench.data import corpora
from speechllm_bench.data.clips import Clips
from speechllm_bench.data.corpora import exclusions
from speechllm_bench.data.corpora.single_turns import SingleTurns
from speechllm_bench.data.corpora.store import Corpus, Unspoken
from speechllm_bench.data.frames import FrameStore, FrameWriter
from speechllm_bench.errors import MissingInput
from speechllm_bench.planning import identity, places
from speechllm_bench.settings.config import CorpusConfig, RunConfig
from speechllm_bench.settings.evaluation_config import LANGUAGES
from speechllm_bench.settings.experiments import Study
from speechllm_bench.settings.profiles import Profile
from speechllm_bench.storage import paths, runs, sealed

CHUNK = 1000  # utterances whose audio is loaded and sorted by length at a time, to limit memory
CHECKPOINT_SECONDS = 20  # least time between two checkpoints of encoder frames


def corpus_folder(corpus: CorpusConfig) -> Path:
    return paths.cache() / "corpora" / f"{corpus.name}-{identity.corpus_digest(corpus)}"


def clips_folder() -> Path:
    return paths.cache() / "clips" / runs.digest(corpora.neural_speech_recipe())


def frames_folder(config: RunConfig, corpus: CorpusConfig | None = None) -> Path:
    """Return the frames folder of `corpus`; None means the training corpus."""
    return _frames(config, identity.frames_digest(config, corpus))


def _frames(config: RunConfig, digest: str) -> Path:
    """Return the folder of frames of a digest. `mixed` has one for bf16 and one for fp32, which differ."""
    in_bf16 = config.precision == "mixed" and encodes_in_bf16(config)
    return paths.cache() / "frames" / (f"{digest}-bf16" if in_bf16 else digest)


def encodes_in_bf16(config: RunConfig) -> bool:
    """Return whether the run's Whisper encodes in bf16 on this machine."""
    from speechllm_bench.models.bf16 import computes_in_bf16
    from speechllm_bench.models.devices import device

    return not config.audio_llm and computes_in_bf16(config.precision, device())


def ensure_corpus(corpus: CorpusConfig, n_workers: int) -> Corpus:
    """Return the corpus from disk. Where it is missing, synthesise it or read its recordings first."""
    utterances, recipe = partial(corpora.utterances, corpus), partial(corpora.recipe, corpus.name)
    recording = corpora.recording(corpus.name)
    clips = clips_folder() if corpora.speaks_slowly(corpus.name) else None
    return _ensure_spoken(corpus_folder(corpus), utterances, recipe, n_workers, recording, clips)


def corpus_to_hear(profile: Profile) -> Corpus | SingleTurns:
    """Return a profile's corpus from disk. Where it is missing, turns are made as they are heard."""
    folder = corpus_folder(profile.corpus)
    if folder.is_dir():
        return Corpus.load(folder)
    return SingleTurns(profile.corpus, paths.results(profile.profile) / "turns")


def corpus_of(config: RunConfig) -> Corpus | Unspoken:
    """Return the training corpus as the run needs it: with audio, or only its texts if no audio is needed."""
    return _as_needed(config, config.corpus)


def _as_needed(config: RunConfig, corpus: CorpusConfig) -> Corpus | Unspoken:
    if config.needs_audio:
        return ensure_corpus(corpus, n_workers=1)
    recorded = corpora.recording(corpus.name) is not None
    return Unspoken(corpora.utterances(corpus), corpora.recipe(corpus.name), recorded)


def heard(study: Study, profile: Profile) -> list[CorpusConfig]:
    """Return the corpora for training and testing of a study's variants, as far as the profile names them."""
    variants = [study.variant(name) for name in study.variants]
    named = {role for v in variants for role in (v.corpus, v.evaluation.corpus) if role}
    roles = named & set(profile.corpora)
    return [profile.corpus, *(profile.corpora[role] for role in sorted(roles))]


def leave_out(used: Iterable[CorpusConfig], skip_missing: bool) -> None:
    """Print how many recordings of the corpora are left out. skip_missing: find unreadable ones first."""
    for corpus in {repr(corpus): corpus for corpus in used}.values():
        if skip_missing:
            with contextlib.suppress(MissingInput):  # the whole corpus is missing, which the plan reports
                corpora.skip_missing(corpus)
        if left_out := corpora.left_out(corpus):
            record = exclusions.record_file(corpus.name).relative_to(paths.home())
            print(
                f"Left out: {len(left_out)} recordings of corpus '{corpus.name}' that cannot be read, named "
                f"in {record}.",
                file=sys.stderr,
            )


def ensure_frames(config: RunConfig, corpus: Corpus) -> FrameStore:
    """Return the frames of all splits of the corpus except the zoo's; encode them first where missing.

    The run's encoder or its audio LLM's tower computes them.
    """
    return _ensure_encoded(config, corpus, frames_folder(config))


def ensure_extra(name: str, n_workers: int = 1) -> Corpus:
    """Return a corpus of `identity.EXTRA` from disk; synthesise it first where missing."""
    folder = paths.cache() / "corpora" / f"{name}-{identity.extra_digest(name)}"
    return _ensure_spoken(folder, *identity.EXTRA[name], n_workers)


def ensure_extra_frames(config: RunConfig, name: str) -> FrameStore:
    """Return the frames of an `identity.EXTRA` corpus, as `ensure_frames` does for the run's own corpus."""
    folder = _frames(config, identity.extra_frames_digest(config, name))
    return _ensure_encoded(config, ensure_extra(name), folder)


def evaluated_corpus(config: RunConfig, corpus: Corpus | Unspoken) -> Corpus | Unspoken:
    """Return the corpus of the evaluation split: `corpus`, on which the run is trained, or another one."""
    if config.evaluation.corpus:
        return _as_needed(config, config.evaluation.corpus)
    return ensure_extra("languages") if config.evaluation.split in LANGUAGES else corpus


def evaluated_frames(config: RunConfig, corpus: Corpus) -> FrameStore | None:
    """Return the frames of an `evaluated_corpus` other than the training corpus; None for a text LLM."""
    if not config.hears:
        return None
    if config.evaluation.corpus:
        return _ensure_encoded(config, corpus, frames_folder(config, config.evaluation.corpus))
    return ensure_extra_frames(config, "languages")


def ensure_transcripts(
    config: RunConfig, corpus: Corpus, split: str, only: Set[str] | None = None
) -> dict[str, str]:
    """Return Whisper's ASR transcripts of a split by utterance id; compute them first where missing.

    only: ids of turns that are enough, if the whole split has not been transcribed yet; None: all.
    """
    file = places.transcripts_file(config, split)
    if only is not None and not file.exists():
        file = file.with_stem(f"{file.stem}-{runs.digest(sorted(only))}")
    with _missing(file, f"ASR transcripts of {split}") as missing:
        if missing:
            sealed.write(file, _recognise(config, corpus, split, only), {})
    return sealed.read(file)


def ensure_shipped(corpus: CorpusConfig, turns: Path) -> Corpus:
    """Return the test splits whose audio is in the repository, as a corpus on disk."""
    from speechllm_bench.data.corpora import shipped

    utterances = shipped.shipped_utterances(corpus, turns)
    recipe = corpora.recipe(corpus.name)
    texts = {split: shipped.texts_digest(some) for split, some in utterances.items()}
    folder = paths.cache() / "corpora" / f"shipped-{runs.digest(recipe, texts)}"
    return _ensure_spoken(folder, lambda: utterances, lambda: recipe, 1, shipped.recording(turns))


def ensure_shipped_frames(
    config: RunConfig, corpus: Corpus, split: str, only: Set[str] | None = None
) -> FrameStore:
    """Return the encoder frames of a split of a shipped corpus; encode them first where missing.

    only: ids of turns that are enough, if the whole split has not been encoded yet; None: all.
    """
    named = ("shipped frames", identity.digest_of_frames(corpus.fingerprint, config), split)
    folder = _frames(config, runs.digest(*named))
    if only is not None and not folder.exists():
        folder = _frames(config, runs.digest(*named, sorted(only)))
    return _ensure_encoded(config, corpus, folder, [split], only)


@contextlib.contextmanager
def _missing(target: Path, what: str) -> Iterator[bool]:
    """Yield whether `target` has to be made. If so, its lock is held meanwhile.

    If another process makes it, a sentence says so, and this one waits.
    """

    def waits() -> None:
        print(f"{runs.holder(target)} makes {what}; this one waits.", file=sys.stderr, flush=True)

    if target.exists():  # it is complete, since it was renamed when it was
        yield False
        return
    with runs.lock(target, waits):
        yield not target.exists()


def _ensure_spoken(
    folder: Path,
    utterances: Callable[[], dict],
    recipe: Callable[[], dict],
    n_workers: int,
    recording: Callable | None = None,
    clips: Path | None = None,
) -> Corpus:
    with _missing(folder, "the corpus") as missing:
        if missing:
            from speechllm_bench.data.corpora import store

            if clips:
                kept = Clips(clips)
                kept.unpack(paths.result_files("*/clips/*.parquet"))
                spoken = (turn for turns in utterances().values() for turn in turns)
                if (told := kept.synthesis_ahead(spoken, n_workers)) is not None:
                    print(told, file=sys.stderr, flush=True)
            store.build_corpus(utterances(), folder, recipe(), n_workers, recording=recording, clips=clips)
    return Corpus.load(folder)


def _ensure_encoded(
    config: RunConfig,
    corpus: Corpus,
    folder: Path,
    splits: Sequence[str] | None = None,
    only: Set[str] | None = None,
) -> FrameStore:
    """Return the frames in `folder`; encode `splits` (None: all) first where it is missing.

    only: ids of the turns that are encoded; None: all.
    """
    with _missing(folder, "encoder frames") as missing:
        if missing:
            _encode(config, corpus, folder, splits or corpus.splits, only)
    store = FrameStore.open(folder)
    store.verify()
    return store


def _chosen(corpus: Corpus, split: str, only: Set[str] | None) -> list[int]:
    """Return the indices of the split's turns whose ids are in `only` (None: all)."""
    return [i for i, turn in enumerate(corpus.utterances(split)) if only is None or turn.id in only]


def _recognise(config: RunConfig, corpus: Corpus, split: str, only: Set[str] | None = None) -> dict[str, str]:
    from tqdm import tqdm

    from speechllm_bench.models.asr import load_asr, transcribe
    from speechllm_bench.models.devices import device

    model, tokenizer = load_asr(config.encoder.path)
    model = model.to(device())
    utterances, chosen = corpus.utterances(split), _chosen(corpus, split, only)
    said: dict[str, str] = {}
    with tqdm(total=len(chosen), desc=f"recognition of {split}", unit="utt", mininterval=1) as bar:
        for start in range(0, len(chosen), CHUNK):
            chunk = chosen[start : start + CHUNK]
            audio = [corpus.audio(split, i) for i in chunk]
            padding, fallback = config.encoder.padding, config.asr_fallback
            texts = transcribe(model, tokenizer, audio, padding, fallback=fallback)
            said |= {utterances[i].id: text for i, text in zip(chunk, texts, strict=True)}
            bar.update(len(chunk))
    return said


def _encode(
    config: RunConfig,
    corpus: Corpus,
    folder: Path,
    splits: Sequence[str],
    only: Set[str] | None = None,
) -> None:
    from tqdm import tqdm

    from speechllm_bench.models import audio_llm, encoder
    from speechllm_bench.models.devices import device

    in_bf16 = encodes_in_bf16(config)
    if config.audio_llm:
        model, padding = audio_llm.load_tower(config.audio_llm, device()), "masked"
        hears, encode = identity.tower_hash(config.audio_llm), audio_llm.encode
        settings: tuple = ()
    else:
        model, padding = encoder.load_encoder(config.encoder.path, device()), config.encoder.padding
        hears, encode = identity.backbone_hash(config.encoder.path), encoder.encode
        settings = padding, in_bf16
    key = {
        "encoder": hears,
        "padding": padding,
        "corpus": corpus.fingerprint,
        **({"bf16": True} if in_bf16 else {}),
    }
    chosen = {split: _chosen(corpus, split, only) for split in splits}
    with (
        FrameWriter(folder, model.config.d_model, key) as writer,
        tqdm(total=sum(map(len, chosen.values())), desc="encoder frames", unit="utt", mininterval=1) as bar,
    ):
        kept = time.monotonic()
        for split, indices in chosen.items():
            utterances = corpus.utterances(split)
            for start in range(0, len(indices), CHUNK):
                chunk = indices[start : start + CHUNK]
                if utterances[chunk[0]].id in writer:  # of an interrupted start, which kept whole chunks
                    bar.update(len(chunk))
                    continue
                audio = [corpus.audio(split, i) for i in chunk]
                for i, frames in encode(model, audio, *settings):
                    writer.add(utterances[chunk[i]].id, frames)
                    bar.update()
                if time.monotonic() - kept > CHECKPOINT_SECONDS:
                    writer.checkpoint()
                    kept = time.monotonic()
