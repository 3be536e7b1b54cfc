"""One run in one process: prepare, train the missing stages, decode, score, record.

Torch is imported inside the functions, so that planning and reporting do not load it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

from speechllm_bench import backbones
from speechllm_bench.data.annotators import stored
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.errors import UserError
from speechllm_bench.planning import estimate, identity, places
from speechllm_bench.running import preparation
from speechllm_bench.running.evaluating import evaluate
from speechllm_bench.settings import overrides
from speechllm_bench.settings.config import RunConfig, heard_tasks
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.status import Status
from speechllm_bench.training import learning_curve

TRAINING = 0.9  # rough share of training in the work of a run that trains

Progress = Callable[[str, float], None]


def prepare(config: RunConfig, profile: str, n_workers: int) -> None:
    """Make the corpus and its encoder frames, and record the time in results/<profile>/preparation.json.

    For parts that exist already the record keeps its old times. Raises MissingInput, before anything is made,
    where a backbone has not been fetched.
    """
    identity.check_fetched(config)
    spoken = preparation.corpus_folder(config.corpus).is_dir()
    encoded = not config.hears or preparation.frames_folder(config).is_dir()
    seconds = {}
    began = time.perf_counter()
    corpus = preparation.ensure_corpus(config.corpus, n_workers)
    if not spoken:
        seconds["synthesis"] = round(time.perf_counter() - began, 2)
    began = time.perf_counter()
    if config.hears:
        preparation.ensure_frames(config, corpus)
    if not (encoded or config.audio_llm):  # an audio LLM's frames are extra and not timed
        seconds["frames"] = round(time.perf_counter() - began, 2)
    if not seconds:
        return
    file = paths.results(profile) / "preparation.json"
    if spoken and file.is_file():  # with a new corpus the older record is outdated
        seconds = runs.read_json(file)["seconds"] | seconds
    record = {
        "seconds": seconds,
        "utterances": sum(len(corpus.n_samples(split)) for split in corpus.splits),
        "speech_seconds": round(sum(s["seconds"] for s in corpus.info["splits"].values())),
        "peak_memory_mib": round(runs.peak_memory_mib()),
        "environment": runs.environment(),
    }
    runs.write_json(file, record)


def execute(config: RunConfig, profile: str, progress: Progress) -> Path:
    """Execute a run and return its folder under results/<profile>/runs, which is written atomically.

    A diverged training is a result as well: it is recorded, without predictions and score.
    progress: called with the phase and the share of the run that is done.
    """
    began, started = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    progress("prepare", 0.0)
    if config.precision == "nf4":
        from speechllm_bench.models import four_bit

        four_bit.packing()  # raises UserError on an unfit machine, before anything is prepared
    if config.evaluation.engine:
        from speechllm_bench.models import vllm_engine

        vllm_engine.refuse_unfit()
    corpus = preparation.corpus_of(config)
    frames = preparation.ensure_frames(config, cast(Corpus, corpus)) if config.hears else None

    import torch

    from speechllm_bench.data import corpora
    from speechllm_bench.models.adapters import n_parameters
    from speechllm_bench.training import regulariser, stages

    recognised: dict[str, str] = {}  # ASR transcripts by utterance id, of the splits where an LLM reads them
    for split in sorted(config.recognised):
        recognised |= preparation.ensure_transcripts(config, cast(Corpus, corpus), split)
    hears_questions = bool(heard_tasks(config.tasks(len(config.stages))))
    data = stages.Data(
        corpus.utterances("train"),
        corpus.utterances("validation"),
        corpora.slot_types(config.corpus.name),
        frames,
        recognised,
        preparation.ensure_extra_frames(config, "instructions") if hears_questions else None,
        stored.learned_traces(config),
    )
    model, tokenizer = stages.build_model(config, frames.dim if frames else None)
    seconds = {"startup": time.perf_counter() - began}

    stage_records = []
    untrained = _untrained(config, profile)
    for index in range(len(config.stages)):

        def tell(phase: str, share: float, index: int = index) -> None:
            seen = sum(untrained[:index]) + share * untrained[index]
            progress(phase, TRAINING * seen / max(1, sum(untrained)))

        stage_records.append(_ensure_stage(config, index, profile, model, tokenizer, data, tell))
        if stage_records[-1]["status"] == Status.DIVERGED:
            break
    seconds["train"] = sum(r["seconds"] for r in stage_records)
    seconds["validate"] = sum(r["validation_seconds"] for r in stage_records)
    diverged = any(r["status"] == Status.DIVERGED for r in stage_records)

    trained = {name for s in config.stages for name in model.trained_parameters(s.train)}
    added = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n or n.startswith("adapter."))
    n_llm = n_parameters(model) - added
    n_classifier = regulariser.n_parameters(config.stages)
    excluded = corpus.info["recipe"].get("excluded")  # unreadable recordings (data/corpora/exclusions.py)
    record = {
        "digest": identity.run_digest(config),
        "profile": profile,
        "overrides": overrides.split(profile)[1],  # settings from --set
        "status": Status.DIVERGED if diverged else Status.OK,
        "config": config.as_stored(),
        "seed": config.seed,
        "stages": [r["digest"] for r in stage_records],
        "adapter_parameters": n_parameters(model.adapter) if model.adapter else 0,
        "classifier_parameters": n_classifier,  # trained with the model, but not part of it
        "trained_parameters": sum(p.numel() for n, p in model.named_parameters() if n in trained)
        + n_classifier,
        "llm_parameters": n_llm,
        "total_parameters": n_llm + added + _encoder_parameters(config),
        "speech_hours": round(sum(r["speech_hours"] for r in stage_records), 3),
        "prompt_tokens": {"stages": [r.get("prompt_tokens") for r in stage_records], "evaluation": None},
        "text_tokens": sum(r["text_tokens"] for r in stage_records),
        "stored_traces": sum(r.get("stored_traces", 0) for r in stage_records),
        "annotators": stored.annotators_of(config),
        **_before(config),
        "device_kind": model.llm.device.type,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "precision": config.precision,
        "arithmetic": "fp32" if model.in_fp32 else "bf16",  # of the answers
        "trained_in": [r.get("arithmetic") for r in stage_records],  # None for a stage of an older version
        "threads": torch.get_num_threads(),
        "padding_share": stage_records[-1]["padding_share"] if stage_records else 0.0,
        "examples_per_second": sum(r["examples"] for r in stage_records) / max(seconds["train"], 1e-9),
        "data": {
            "corpus": corpus.fingerprint,
            "audio": corpus.audio_hashes,  # null for a run without audio
            "frames": identity.frames_digest(config) if frames else None,
            **({"excluded": excluded} if excluded else {}),
        },
        "environment": runs.environment(),
        "started": started,
    }
    with runs.whole_folder(places.run_folder(profile, record["digest"])) as folder:
        folders = (places.stage_folder(profile, digest) for digest in record["stages"])
        learning_curve.join_curves(zip((s.name for s in config.stages), folders), folder / "curve.csv")
        if not diverged:
            evaluated = preparation.evaluated_corpus(config, corpus)
            if evaluated is not corpus:
                types = corpora.slot_types(config.tested.name)
                heard = preparation.evaluated_frames(config, cast(Corpus, evaluated))
                data = replace(data, frames=heard, slot_types=types)
                own = {"corpus": evaluated.fingerprint, "audio": evaluated.audio_hashes}
                record["data"]["evaluated"] = own
            begin = TRAINING if any(untrained) else 0.0

            def told(phase: str, share: float) -> None:
                progress(phase, begin + (1 - begin) * share)

            answered = evaluate(config, model, tokenizer, evaluated, data, folder, told)
            seconds, record["prompt_tokens"]["evaluation"] = seconds | answered.seconds, answered.prompts
            record |= answered.engine
        # Wall time includes all resumed sessions of a stage, even where another run trained the stage.
        seconds["total"] = sum(seconds.values())
        record["seconds"] = {name: round(value, 2) for name, value in seconds.items()}
        record["wall_seconds"] = record["seconds"]["total"]
        record["peak_memory_mib"] = round(runs.peak_memory_mib())
        sealed.write(folder / "run.json", record)
    return places.run_folder(profile, record["digest"])


def _untrained(config: RunConfig, profile: str) -> list[float]:
    """Return the work of each stage, in examples through the LLM; 0 for a stage that is trained already."""
    digests = (identity.stage_digest(config, index) for index in range(len(config.stages)))
    there = (places.stage_done(profile, digest) for digest in digests)
    stages = zip(there, config.stages, strict=True)
    return [0.0 if done else estimate.work(stage.examples, stage.objective) for done, stage in stages]


def _encoder_parameters(config: RunConfig) -> int:
    """Return the number of parameters of the run's speech encoder; 0 for a text LLM on gold transcripts.

    A run on ASR transcripts counts the whole recogniser, decoder included.
    """
    if config.evaluation.text == "asr":
        return identity.n_stored(config.encoder.path)
    if config.audio_llm:
        return identity.n_stored(config.audio_llm, "audio_tower.")
    return identity.n_stored(config.encoder.path, "encoder.") if config.adapter else 0


def _before(config: RunConfig) -> dict:
    """Return speech hours and text tokens of an audio LLM's pre-training; None where none are recorded."""
    name = config.audio_llm
    record = backbones.training_record(identity.backbone_folder(name)) if name else {}
    return {f"pretraining_{key}": record.get(key) for key in ("speech_hours", "text_tokens")}


def _ensure_stage(config: RunConfig, index: int, profile: str, model, tokenizer, data, progress) -> dict:
    """Load the stage's weights into the model and return the stage's record.

    A missing stage is trained and stored first. A lock makes sure that only one of several runs trains a
    shared stage, while the others wait.
    """
    import torch

    from speechllm_bench.training import loop, stages, tracking

    digest = identity.stage_digest(config, index)
    folder = places.stage_folder(profile, digest)
    stage = config.stages[index]
    decoded = stage.most_decoded(config.evaluation.max_new_tokens)
    checkpoint = places.checkpoint_folder(profile, digest)
    with runs.lock(folder, lambda: progress("waiting", 0.0)):
        if (folder / "stage.json").is_file():
            record = trained_before(folder, decoded)
            runs.remove(checkpoint)
            loop.load_weights(model.trained_parameters(stage.train), folder / "weights.safetensors")
            return record
        told = partial(progress, "train")
        with tracking.followed(config, index, profile, digest) as follow:
            fitted, seen = stages.train_stage(config, index, model, tokenizer, data, checkpoint, told, follow)
        record = {
            "digest": digest,
            "stage": config.as_stored()["stages"][index],
            "status": fitted.status,
            "decoded_tokens": decoded,
            "examples": fitted.curve[-1].examples,  # the budget, or fewer after divergence
            "seconds": round(fitted.seconds, 2),
            "validation_seconds": round(fitted.validation_seconds, 2),
            "arithmetic": fitted.arithmetic,
            **seen.record(),
        }
        trained, dtype = model.trained_parameters(stage.train), None
        if config.precision == "mixed":  # rounded before use, so that later runs load the same weights
            loop.round_to_16_bits(trained)
            dtype = torch.float16
        with runs.whole_folder(folder) as temporary:
            loop.save_weights(trained, temporary / "weights.safetensors", dtype)
            if seen.ctc_head:
                loop.save_weights(seen.ctc_head, temporary / "ctc_head.safetensors")
            learning_curve.write_curve([(stage.name, fitted.timed_curve())], temporary / "curve.csv")
            sealed.write(temporary / "stage.json", record)
        runs.remove(checkpoint)
    return record


def trained_before(folder: Path, decoded: int | None) -> dict:
    """Return the checked record of a stage that is trained already.

    decoded: the most tokens decoded per answer on the curve that the run would train. The limit is in no
    digest, as it does not affect the weights. Raises UserError where the stored curve has another limit.
    """
    record = sealed.read(folder / "stage.json", runs.DELETE_FOLDER)
    stored = record.get("decoded_tokens")  # None: nothing was decoded, or an older record does not say
    if stored not in (None, decoded):
        raise UserError(
            f"the curve of stage {folder} was decoded with at most {stored} tokens an answer, and the "
            f"profile now allows {decoded}; set decoding.max_new_tokens back, or delete this folder to train "
            "the stage anew"
        )
    return record
