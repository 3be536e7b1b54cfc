"""Digests of runs, stages, corpora and frames, over config, backbones, corpus recipe and numerics version.

Two runs with the same digest are the same run (protocol, rule 16). Commit, device and library versions are
recorded with a run, but never part of a digest.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError
from safetensors import safe_open

from speechllm_bench import backbones
from speechllm_bench.backbones import backbone_folder
from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import languages, spoken_instructions
from speechllm_bench.settings.config import CorpusConfig, RunConfig, from_stored, heard_tasks
from speechllm_bench.settings.evaluation_config import LANGUAGES, TaskName
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.tasks import TASKS, traced_slots

FRAMES_VERSION = 1
"""Raised by hand, with `runs.NUMERICS_VERSION`, when a code change alters encoder frames or ASR transcripts.

Both are cached between runs.
"""

ONE_CLASS_KINDS = {"cnn", "cnn_xl", "linear", "mlp", "transformer", "pooling"}
UNUSED_SIZES = {"width": 1, "layers": 0, "heads": 0, "feed_forward": 0, "pre_norm": False}
"""Sizes that the digests of `ONE_CLASS_KINDS` include although the adapter does not use them.

These kinds were one configuration class once, and a digest had all its settings. It still has them, so that
stored runs keep their digests. A newer kind has only its own settings in a digest.
"""

EXTRA: dict[str, tuple[Callable[[], dict[str, list[Utterance]]], Callable[[], dict]]] = {
    "instructions": (spoken_instructions.utterances, spoken_instructions.recipe),
    "languages": (languages.utterances, corpora.languages_recipe),
}
"""Small corpora in addition to a profile's own: functions that return their utterances and their recipe.

They are the spoken instructions, and the turns in languages other than English.
"""


def run_digest(config: RunConfig) -> str:
    own = _own(config.tasks(len(config.stages)))
    foreign = tuple(_foreign(config).values())
    return runs.digest("run", _used(config), *_surroundings(config, config.needs_audio), *own, *foreign)


def check_fetched(config: RunConfig) -> None:
    """Raise MissingInput where a backbone of the run has not been fetched. A digest does not need it."""
    encoder = [config.encoder.path] if config.needs_audio else []
    for name in [config.audio_llm] if config.audio_llm else [*encoder, config.llm]:
        if backbones.pinned_hashes(name):
            backbone_folder(name)


def on_record(folder: Path, config: RunConfig) -> bool:
    """Return whether a folder of runs has a run of these settings, regardless of its backbones and code."""
    files = folder.glob("[!.]*/run.json")
    return any(_settings(file, file.stat().st_mtime_ns) == config for file in files)


def stage_digest(config: RunConfig, index: int) -> str:
    """Digest of stage `index` and all stages before it, over all that the trained weights depend on.

    It leaves out the evaluation and the following stages, so that runs share the stage. It also leaves out
    LoRA where no stage so far trains it, because untrained LoRA changes nothing. If all stages so far read
    text, the stage is the same as that of a text LLM trained on the same task.
    """
    if all(stage.reads for stage in config.stages[: index + 1]):
        config = _as_text_llm(config)
    parts = _used(config)
    del parts["evaluation"]
    parts["stages"] = parts["stages"][: index + 1]
    if not any("lora" in stage["train"] for stage in parts["stages"]):
        parts.pop("lora", None)
    if not config.reads_asr(index + 1, evaluated=False):
        parts.pop("asr_fallback", None)
    heard = config.hears or config.reads_asr(index + 1, evaluated=False)
    own = _own(config.tasks(index + 1, evaluated=False))
    return runs.digest("stage", parts, *_surroundings(config, heard), *own)


def _as_text_llm(config: RunConfig) -> RunConfig:
    """Return the run without its adapter, with stages named after their tasks, as a text LLM has them."""
    stages = [s.model_copy(update={"reads": None, "name": "_".join(s.tasks)}) for s in config.stages]
    return config.model_copy(update={"adapter": None, "stages": stages})


def components(config: RunConfig) -> dict[str, str | int]:
    """Return by name what a run's digest includes besides its settings, to explain why two digests differ."""
    if config.audio_llm:
        names = [f"backbone {config.audio_llm}"]
    else:
        names = [f"backbone {config.encoder.path}", f"backbone {config.llm}"]
    names += [f"recipe of corpus {config.corpus.name}", "NUMERICS_VERSION"]
    found = dict(zip(names, _surroundings(config, config.needs_audio)))
    found |= dict(zip(("spoken instructions", "traces"), _own(config.tasks(len(config.stages)))))
    found |= _foreign(config)
    plain = {name: value for name, value in found.items() if value is not None}
    return {k: v if isinstance(v, str | int) else runs.digest(v) for k, v in plain.items()}


def corpus_digest(corpus: CorpusConfig) -> str:
    return runs.digest("corpus", corpus.model_dump(), corpora.recipe(corpus.name))


def frames_digest(config: RunConfig, corpus: CorpusConfig | None = None) -> str:
    """Digest of the frames of `corpus` by the run's encoder; None means the training corpus."""
    return digest_of_frames(corpus_digest(corpus or config.corpus), config)


def extra_digest(name: str) -> str:
    """Digest of one of the `EXTRA` corpora."""
    _, recipe = EXTRA[name]
    return runs.digest(name, recipe())


def extra_frames_digest(config: RunConfig, name: str) -> str:
    return digest_of_frames(extra_digest(name), config)


@lru_cache(4096)
def _settings(file: Path, written: int) -> RunConfig | None:
    """Return the settings of a stored run; None if this code cannot read them. written: only a cache key."""
    try:
        return from_stored(RunConfig, runs.read_json(file, runs.DELETE_FOLDER)["config"])
    except ValidationError:
        return None


@cache
def backbone_hash(name: str) -> str:
    """Hash of the weights, configuration and tokenizer in a backbone's folder, by file name.

    Records of training, evaluation and fetching are left out, because they do not affect the model. The files
    of fetched backbones are pinned, so their hash is known without them. Raises UserError where files differ
    from the folder's record, and MissingInput where any other backbone is not on this machine.
    """
    if pinned := backbones.pinned_hashes(name):
        return runs.digest(pinned)
    files = backbones.hashed_files(backbone_folder(name))
    backbones.refuse_changed(name)
    return runs.digest({p.name: backbones.file_sha256(p) for p in files})


def n_stored(name: str, part: str = "") -> int:
    """Return the number of parameters in a backbone's files, of tensors whose name contains `part`.

    Only headers are read.
    """
    total = 0
    for file in sorted(backbone_folder(name).glob("*.safetensors")):
        with safe_open(file, "np") as weights:
            names = [name for name in weights.keys() if part in name]  # noqa: SIM118, no dictionary
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in names)
    return total


@cache
def tower_hash(name: str) -> str:
    """Hash of an audio LLM's tower only, so that audio LLMs with the same tower share frames.

    The model is not loaded.
    """
    folder, tensors = backbone_folder(name), {}
    for file in folder.glob("*.safetensors"):
        with open(file, "rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))  # the header is JSON, after its length
            for tensor, about in json.loads(content.read(length)).items():
                if "audio_tower." in tensor:
                    first, last = about["data_offsets"]
                    content.seek(8 + length + first)
                    bits = sha256(content.read(last - first)).hexdigest()
                    tensors[tensor] = [about["dtype"], about["shape"], bits]
    return runs.digest(runs.read_json(folder / "config.json")["audio_config"], tensors)


def _foreign(config: RunConfig) -> dict[str, str | dict]:
    """Return by name the evaluation data that is not from the training corpus."""
    if other := config.evaluation.corpus:
        return {f"recipe of corpus {other.name}": corpora.recipe(other.name)}
    if config.evaluation.split in LANGUAGES:
        return {"turns in other languages": extra_digest("languages")}
    return {}


def digest_of_frames(corpus: str, config: RunConfig) -> str:
    """Return the digest of the frames that a run's encoder makes of a corpus. corpus: its digest."""
    version = (FRAMES_VERSION,) if FRAMES_VERSION > 1 else ()  # version 1 has none, for older caches
    if config.audio_llm:
        return runs.digest("frames", corpus, tower_hash(config.audio_llm), *version)
    encoder = config.encoder
    mixed = ("mixed",) if config.precision == "mixed" else ()
    own = (*version, *mixed, *_in_bf16(config))
    return runs.digest("frames", corpus, backbone_hash(encoder.path), encoder.padding, *own)


def _in_bf16(config: RunConfig) -> tuple[str, ...]:
    """Return the part of a digest for an encoder that computes in bf16 on every device."""
    return ("encoder in bf16",) if config.precision in ("bf16", "nf4") else ()


def _own(tasks: set[TaskName]) -> tuple:
    """Return parts of the digest for certain tasks only: spoken instructions, and the form of traces."""
    spoken = (extra_digest("instructions"),) if heard_tasks(tasks) else ()
    traced = (("traces", traced_slots.VERSION),) if any(TASKS[task].traced for task in tasks) else ()
    return (*spoken, *traced)


def _used(config: RunConfig) -> dict:
    """Return the settings that a run uses, as plain JSON.

    Settings that are None are left out, so that a new setting does not change the digests of older runs.
    """
    instead = {"encoder", "llm"} if config.audio_llm else set()
    used = config.as_stored(exclude=instead, exclude_none=True)
    for stage in used["stages"]:
        stage.pop("micro_batch", None)  # changes numbers only by rounding
    if config.adapter and config.adapter.kind in ONE_CLASS_KINDS:
        used["adapter"] = UNUSED_SIZES | used["adapter"]
    return used


def _surroundings(config: RunConfig, heard: bool) -> tuple:
    if config.audio_llm:
        hashes = (backbone_hash(config.audio_llm),)
        return (*hashes, corpora.recipe(config.corpus.name), runs.NUMERICS_VERSION)
    return (
        backbone_hash(config.encoder.path) if heard else None,
        backbone_hash(config.llm),
        corpora.recipe(config.corpus.name),
        runs.NUMERICS_VERSION,
        *(_in_bf16(config) if heard and config.hears else ()),
    )
