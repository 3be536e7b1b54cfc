"""Asks a trained model about recordings. An answer has the parsed value, a
transcript, and a cascade's answer.

    model = asking.load("lora", "mlp_lora", profile="small")
    model.ask("call.wav", slots=["name: the caller's name", "city"]).slots

Weights come from the models that the repository ships, or from stages trained on this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from speechllm_bench.data import audio, corpora, questions
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.planning import identity, studies
from speechllm_bench.planning.studies import Run
from speechllm_bench.running import preparation
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import paths, sealed
from speechllm_bench.storage.schema import Example, Turn, Utterance
from speechllm_bench.storage.status import Status
from speechllm_bench.tasks import TASKS, slots
from speechllm_bench.tasks.prompt import SYSTEM
from speechllm_bench.tasks.traced_slots import FORMS

RESTORE = "bring it back with `git checkout`, or delete its folder and train it again"
Source = str | Path | bytes | np.ndarray | tuple[np.ndarray, int]
"""A file of any format that soundfile reads, or its content; samples at 16 kHz; or samples and their rate."""


@dataclass(frozen=True)
class Answer:
    """A model's answer to one recording."""

    model: str  # study, variant and seed
    raw: str  # as decoded
    value: dict | list | str | None  # as its task parses it; None where it cannot be parsed
    transcript: str  # from the encoder's own decoder
    seconds: float  # encoding (or recognition) and answering, without loading the model
    audio_seconds: float  # length of the recording
    cascade: Answer | None = None  # of a text LLM that reads the transcript; None where none is trained

    @property
    def slots(self) -> dict:
        """Return slot -> value. Empty where the answer cannot be parsed."""
        return dict(self.value) if isinstance(self.value, Mapping) else {}


class Model:
    """A trained run that answers questions. Its parts are loaded when they are first needed."""

    def __init__(self, run: Run):
        self.run = run
        self._weights = _weights(run)
        identity.check_fetched(run.config)

    @property
    def config(self) -> RunConfig:
        return self.run.config

    def ask(
        self,
        source: Source,
        slots: Sequence[str] = (),
        context: Sequence[Turn] = (),
        cascade: Model | None = None,
        channel: int | None = None,
    ) -> Answer:
        """Return the answer to one question about one recording.

        slots: names, or `name: description`. A variant of another task asks its own question and takes no
        slots. context: earlier turns of the dialogue. cascade: a model that reads the transcript and answers
        the same question. channel: index from 0, for a file with several channels.
        Raises UserError for audio that cannot be read or is longer than the encoder's 30 s.
        """
        samples = _samples(source, channel)
        example = self._question(slots, context)
        _ = self._model, self._encoded if self.config.hears else self._recogniser  # loading is not timed
        began = time.perf_counter()
        heard = None if self.config.hears else self.hear(samples)
        raw = self._decode(example, samples, heard)
        seconds = time.perf_counter() - began
        other = cascade if cascade and cascade.run.digest != self.run.digest else None
        beside = other.ask(samples, slots, context) if other else None
        if heard is None:
            heard = beside.transcript if beside else self.hear(samples)
        return Answer(
            self.run.name,
            raw,
            TASKS[example.task].parse(raw),
            heard,
            round(seconds, 3),
            round(len(samples) / audio.SAMPLE_RATE, 3),
            beside,
        )

    def hear(self, samples: np.ndarray) -> str:
        """Return the transcript of samples (n,) at 16 kHz by the encoder's own decoder."""
        from speechllm_bench.models.asr import transcribe

        model, tokenizer = self._recogniser
        padding = self.config.encoder.padding
        # A run that hears has no fallback of its own, but its profile's cascades have.
        fallback = self.config.asr_fallback or studies.profile_named(self.run.profile).asr_fallback
        again = None if fallback == padding else fallback  # the same padding would give the same text
        return transcribe(model, tokenizer, [samples], padding, fallback=again)[0]

    def _question(self, asked: Sequence[str], context: Sequence[Turn]) -> Example:
        task, style = self.config.evaluation.task, self.config.prompt
        if TASKS[task].asks_of_gold:
            can = ", ".join(name for name in TASKS if not TASKS[name].asks_of_gold)
            raise UserError(
                f"{self.run.name} answers {task}, whose questions are drawn from a turn's gold, which a "
                f"recording lacks; ask a variant that answers {can}"
            )
        if task != slots.NAME and task not in FORMS:
            if asked:
                raise UserError(f"{self.run.name} answers only the task {task} and takes no slots")
            types = corpora.slot_types(self.config.corpus.name)
            return questions.evaluation_example(_utterance(""), types, task, style=style)
        names = list(map(_slot, asked))
        if not names:
            raise UserError(f'{self.run.name} fills slots: name some, as "name: the caller\'s name, city"')
        prompt = slots.question([text for _, text in names], context, style)
        prompt += FORMS[task].below(style) if task in FORMS else ""
        named = tuple(name for name, _ in names)
        return Example("asked/slots", "asked", task, prompt, "", named, system=SYSTEM[style])

    def _decode(self, example: Example, samples: np.ndarray, heard: str | None) -> str:
        from speechllm_bench.models.decoding import decode

        asked, (model, tokenizer) = self.config.evaluation, self._model
        given: dict[str, Any] = {"transcripts": [heard]}
        if heard is None:
            ((_, frames),) = self._encoded([samples])
            given = {"frames": [frames]}
        limit = asked.trace_tokens or asked.max_new_tokens
        how: dict[str, Any] = {"batch_size": 1, "max_new_tokens": limit, "beams": asked.beams or 1}
        return decode(model, tokenizer, [example], [_utterance(heard or "")], **given, **how)[0].raw

    @cached_property
    def _encoded(self) -> Callable[[list[np.ndarray]], Iterator[tuple[int, np.ndarray]]]:
        """The function from audio to frames, of the encoder or of an audio LLM's tower."""
        from speechllm_bench.models import audio_llm, encoder

        device = self._model[0].llm.device.type
        if self.config.audio_llm:
            return partial(audio_llm.encode, audio_llm.load_tower(self.config.audio_llm, device))
        whisper = encoder.load_encoder(self.config.encoder.path, device)
        in_bf16 = preparation.encodes_in_bf16(self.config)
        return partial(encoder.encode, whisper, padding=self.config.encoder.padding, bf16=in_bf16)

    @cached_property
    def _recogniser(self):
        from speechllm_bench.models.asr import load_asr

        model, tokenizer = load_asr(self.config.encoder.path)
        return model.to(self._model[0].llm.device), tokenizer

    @cached_property
    def _model(self):
        return trained(self.run, self._weights)


def listed(slots: str) -> list[str]:
    """Split a text into slots at commas, or at semicolons if there are any (descriptions may have commas)."""
    return [slot.strip() for slot in slots.split(";" if ";" in slots else ",") if slot.strip()]


def load(study: str, variant: str, profile: str = "smoke", seed: int | None = None) -> Model:
    """Return the model of a trained run. seed: None for the profile's first seed.

    Raises UserError for a run that has no model, and MissingInput without its weights or
    backbones on this machine.
    """
    first = studies.profile_named(profile).seeds[0]
    return Model(studies.run(study, variant, first if seed is None else seed, profile))


def cascade(of: Run) -> Model | None:
    """Return a trained model of the same profile that fills slots from an ASR transcript.

    None without one.
    """
    for name in dict.fromkeys([of.study, *studies.known_studies()]):
        for run in _reading(name, of):
            try:
                return Model(run)
            except MissingInput:
                continue
    return None


def trained(run: Run, weights: Sequence[Path] | None = None):
    """Return the SpeechLLM of a run with its trained weights, in eval mode, and its tokenizer."""
    from speechllm_bench.training import loop, stages

    files = _weights(run) if weights is None else weights
    model, tokenizer = stages.build_model(run.config, _width(run.config))
    for stage, file in zip(run.config.stages, files, strict=True):
        loop.load_weights(model.trained_parameters(stage.train), file)
    return model.eval().requires_grad_(False), tokenizer


def _weights(run: Run) -> list[Path]:
    """Return the weight files of a run, one per stage. Empty where nothing is trained.

    Raises UserError for a floor and for damaged weights, and MissingInput where weights are missing or the
    training diverged.
    """
    if run.config.evaluation.answerer != "model":
        raise UserError(f"{run.name} is a floor: it reads gold transcripts and has no model to ask")
    files = _stored(run)
    if files is None:
        train = f"speechllm-bench run {run.study} {run.variant} --seed {run.seed} --profile {run.profile}"
        there = ", ".join(_askable(run))
        other = f"a model whose weights are there ({there})" if there else "one of `small`, which has weights"
        raise MissingInput(
            f"the weights of {run.name} are not in results/{run.profile}/stages; train them by `{train}`, "
            f"or ask {other}"
        )
    for file in files:
        stage = sealed.read(file.with_name("stage.json"), RESTORE)
        if stage["status"] == Status.DIVERGED:
            raise MissingInput(f"{run.name} diverged in training, so it has no model to ask")
    return files


def _stored(run: Run) -> list[Path] | None:
    """Return the weight files of a run from this machine's results or the repository.

    None if one is missing.
    """
    found = [
        paths.result_files(f"{run.profile}/stages/{digest}/weights.safetensors") for digest in run.stages
    ]
    return [files[0] for files in found] if all(found) else None


def _askable(like: Run) -> list[str]:
    """Return the trained variants of a run's profile and seed, as `study variant`, one per training."""
    there: dict[tuple[str, ...], str] = {}
    planned = _planned(studies.known_studies(), like)
    for run in sorted(planned, key=lambda run: run.config.evaluation.split):  # variants on A-test come first
        if run.stages and _stored(run):
            there.setdefault(run.stages, f"{run.study} {run.variant}")
    return list(there.values())


def _reading(study: str, of: Run) -> Iterator[Run]:
    """Yield a study's runs that fill slots from ASR transcripts, with the same encoder and seed."""
    for run in _planned([study], of):
        asked = run.config.evaluation
        fills = asked.text == "asr" and asked.task == slots.NAME and run.stages
        if fills and run.config.encoder == of.config.encoder:
            yield run


def _planned(names: Sequence[str], like: Run) -> Sequence[Run]:
    """Return the runs of studies at a run's profile and seed. Empty where they cannot be planned here."""
    try:
        return studies.plan(names, like.profile, ["all"], [like.seed]).runs
    except UserError:  # a faulty study of the user's own, or a missing backbone
        return ()


def _width(config: RunConfig) -> int | None:
    """Return the width of the encoder's frames from its configuration, without loading weights.

    None where no separate encoder is used.
    """
    from transformers import AutoConfig

    from speechllm_bench.models.pretrained import loaded

    if not config.hears or config.audio_llm:
        return None
    return loaded(AutoConfig.from_pretrained, config.encoder.path).d_model


def _slot(text: str) -> tuple[str, str]:
    """Parse `name` or `name: description` into the slot's name and the text that asks for it."""
    name, colon, description = (part.strip() for part in text.partition(":"))
    if not name:
        raise UserError(f"'{text}' names no slot; write name, or name: description")
    spoken = slots.spoken_name(name)
    return slots.written_name(name), f"{spoken} ({description})" if colon else spoken


def _samples(source: Source, channel: int | None = None) -> np.ndarray:
    if isinstance(source, str | Path | bytes):
        return audio.read_audio(source, channel)
    samples, rate = source if isinstance(source, tuple) else (source, audio.SAMPLE_RATE)
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise UserError(f"samples are one channel of numbers, got an array of shape {samples.shape}")
    return audio.resample(samples, rate, audio.SAMPLE_RATE)


def _utterance(transcript: str) -> Utterance:
    return Utterance("asked", "asked", "asked", transcript=transcript, sentiment="neutral")
