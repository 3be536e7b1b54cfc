"""Typed configuration of a run: `RunConfig` holds every setting that affects its numbers.

An unknown key, a wrong type or a conflict is an error that names the key, its value and what is allowed.
No code here changes requested settings: the resolved config is the one that runs and is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, model_validator

from speechllm_bench.settings.adapter_config import AdapterConfig
from speechllm_bench.settings.corpus_config import CorpusConfig
from speechllm_bench.settings.evaluation_config import (
    LANGUAGES,
    EvaluationConfig,
    TaskName,
    Text,
    named_tasks,
)
from speechllm_bench.settings.strict import Name, Strict, refuse_repeated
from speechllm_bench.tasks import TASKS, transcription
from speechllm_bench.tasks.prompt import PromptStyle

Model = TypeVar("Model", bound=Strict)
Part = Literal["adapter", "lora"]
Precision = Literal["fp32", "bf16", "mixed", "nf4"]
"""Number format of the frozen backbones and of training. Trained parameters are kept in fp32.

`bf16`: backbones are kept in bf16, and training steps compute in it. `mixed`: training and decoding compute
in bf16 where the device multiplies faster in it, and in fp32 elsewhere; norms, sums and the head are fp32.
`nf4`: as `bf16`, with the linear layers of text LLMs in 4 bits (models/four_bit.py). At the end of a stage in
`mixed`, its trained parameters are rounded to fp16.
"""
Objective = Literal["ctc"]  # training/ctc_stage.py
AsrFallback = Literal["30s"]
"""Padding of turns whose transcript repeats itself, so that they are recognised again (models/asr.py)."""
LARGEST_SEED = 2**32 - 1  # torch seeds have 64 bits, and the number of the step needs some of them
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


class EncoderConfig(Strict):
    path: str  # a zoo folder of this checkout, any other folder, or a hub name
    # Whisper's input. trimmed: the audio at its own length; 10s, 30s: padded to at least this length.
    padding: Literal["trimmed", "10s", "30s"]


class AnnotationConfig(Strict):
    """Entities of an annotator in place of gold (2509.04473): gold with drawn errors, or stored labels."""

    # Share of wrong entities; half this share of the turns get one entity too many
    # (data/annotators/drawn.py). None: stored labels are used.
    noise: float | None = Field(ge=0, le=1)
    filtered: bool  # True: phrases that are not in the transcript and meaningless tags are removed
    stored: str | None = None  # name of labels that `annotate labels` wrote, in place of noise


class LoraConfig(Strict):
    rank: int = Field(gt=0)
    alpha: int = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)
    # qkv: query, key and value projections, as in 2509.04473. None: all linear layers, as in 2510.15851.
    targets: Literal["qkv"] | None = None


class ClassifierConfig(Strict):
    """A classifier that regularises the adapter in training (2509.04473): (1 - a) L_LLM + a L_classifier."""

    alpha: float = Field(gt=0, lt=1)  # a, the weight of the classifier's loss
    # True: a label's weight is the count of all tags (or all sentiments) / its own count. False: 1.
    class_weights: bool


class DistillationConfig(Strict):
    """Distillation from a teacher: L_LLM + weight KL(frozen text LLM || model) (training/distillation.py)."""

    weight: float = Field(gt=0)  # below 1, an answer that the examples determine stays the most likely one


class Fit(Strict):
    """Settings of an optimisation, without its length."""

    # Aliases are the keys in records and digests, which still use the oldest names.
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=False, loc_by_alias=False)

    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)  # peak learning rate
    # share of the steps with a rising learning rate
    warmup_ratio: float = Field(ge=0, lt=1, validation_alias="warmup", serialization_alias="warmup")
    weight_decay: float = Field(ge=0)
    # gradients with a larger norm are scaled down to it
    max_grad_norm: float = Field(gt=0, validation_alias="clip", serialization_alias="clip")
    # number of validations, evenly spaced, the last at the end
    evaluations: int = Field(gt=0, validation_alias="points", serialization_alias="points")


def from_stored(kind: type[Model], plain: dict) -> Model:
    """Return the config or recipe of a record. Raises pydantic's ValidationError if other code wrote it."""
    return kind.model_validate(plain, by_alias=True, by_name=True)


class FitConfig(Fit):
    """Settings of one optimisation, shared by the studies' stages and the zoo's backbones."""

    examples: int = Field(gt=0)  # budget: number of training examples seen


def heard_tasks(tasks: Iterable[TaskName]) -> list[TaskName]:
    """Return, sorted, those of the tasks whose instructions are spoken."""
    return sorted(task for task in tasks if TASKS[task].instructions)


class Stage(Strict):
    """One training stage without its size: its examples, the parts that it trains, and its objective."""

    name: Name
    tasks: dict[TaskName, float]  # share of the examples by task
    train: list[Part] = Field(min_length=1)  # the parts that learn
    text: Text = "gold"  # transcripts that a text LLM reads: gold, or Whisper's own
    reads: bool | None = None  # True: trains on transcripts in place of speech, in a model that takes speech
    annotation: AnnotationConfig | None = None  # labels of its entities; None: gold
    # Share of the training utterances; None: the variant's share, or all.
    train_share: float | None = Field(default=None, gt=0, lt=1)
    beside: dict[TaskName, Any] | None = None  # examples of further tasks, besides those of `tasks`
    again: TaskName | None = None  # asks each question of `tasks` a second time, as this task
    described: float | None = Field(default=None, gt=0, le=1)  # share of the slot examples with descriptions
    decoded_task: TaskName | None = None  # task of the decoded turns; None: the default task
    classifier: ClassifierConfig | None = None
    distillation: DistillationConfig | None = None
    objective: Objective | None = None  # None: cross-entropy of the LLM on the answer

    @property
    def taught(self) -> set[TaskName]:
        """Tasks of all its examples: those in `tasks`, in `beside` and in `again`."""
        return {*self.tasks, *(self.beside or ()), *([self.again] if self.again else ())}

    @model_validator(mode="after")
    def _parts(self) -> Self:
        refuse_repeated(self.train)
        if abs(sum(self.tasks.values()) - 1) > 1e-9 or min(self.tasks.values()) <= 0:
            raise ValueError(f"tasks are shares above 0 that sum to 1, got {self.tasks}")
        if self.annotation and not any(TASKS[task].labelled for task in self.taught):
            of_entities = named_tasks(task for task in TASKS if TASKS[task].labelled)
            raise ValueError(f"annotation is of entities, but this stage does not train on {of_entities}")
        if self.annotation and self.classifier:
            raise ValueError("a classifier learns gold tags; a stage has it or annotation, not both")
        if self.classifier and "adapter" not in self.train:
            raise ValueError("a classifier regularises the adapter, but this stage does not train it")
        if self.reads and (self.train != ["lora"] or self.distillation or heard_tasks(self.taught)):
            raise ValueError(
                "a stage that reads trains LoRA alone, on tasks that are asked in text, without distillation"
            )
        if self.distillation and self.classifier:
            raise ValueError("a stage learns beside a classifier or from a teacher (distillation), not both")
        if self.distillation and (heard := heard_tasks(self.taught)):
            raise ValueError(
                f"the instructions of task {', '.join(heard)} are heard, "
                "and the teacher of distillation reads"
            )
        return self

    @model_validator(mode="after")
    def _ctc(self) -> Self:
        if self.objective is None:
            return self
        learned = transcription.NAME
        if self.taught != {learned} or set(self.tasks) != {learned} or self.again:
            raise ValueError(f"objective: ctc learns the task {learned} alone, got {sorted(self.taught)}")
        if self.train != ["adapter"]:
            raise ValueError(f"objective: ctc trains the adapter alone, got train: {self.train}")
        beside = ("classifier", "distillation", "annotation", "described")
        if wrong := [name for name in beside if getattr(self, name)]:
            raise ValueError(f"objective: ctc goes without {wrong[0]}; leave one of the two out")
        if self.decoded_task not in (None, learned):
            raise ValueError(f"objective: ctc decodes transcripts, not decoded_task: {self.decoded_task}")
        return self


class StageConfig(Stage, FitConfig):
    """One training stage at the size of a profile."""

    beside: dict[TaskName, int] | None = None
    validation_examples: int = Field(gt=0)  # number of examples for the validation loss
    decoded_turns: int = Field(ge=0)  # number of validation turns decoded for the F1 curve
    adapter_lr: float | None = Field(default=None, gt=0)  # adapter's peak rate beside LoRA; None: `lr`
    trace_tokens: int | None = Field(default=None, gt=0)  # most tokens decoded, if it trains on traces
    # Most tokens decoded per answer on the curve; None: the value for evaluations in the profile's file.
    # The stage holds it, so that runs that decode differently do not share a curve.
    decoded_tokens: int | None = Field(default=None, gt=0)
    traces: str | None = None  # traces that `annotate traces` wrote; None: written from gold
    frame_dropout: float | None = Field(default=None, gt=0, lt=1)  # share of frames' values; objective ctc
    # 0 to frame_shift - 1 zero frames precede a turn, drawn each time it is seen. None: no zero frames.
    frame_shift: int | None = Field(default=None, gt=1)
    # Examples per forward and backward pass, for small GPUs; None: the whole batch. Not in any digest.
    micro_batch: int | None = Field(default=None, gt=0)

    @property
    def own_examples(self) -> int:
        """Number of examples of `tasks`. They are the same, whatever else the stage sees."""
        return (self.examples - sum((self.beside or {}).values())) // (2 if self.again else 1)

    def most_decoded(self, evaluated: int) -> int | None:
        """Return the most tokens decoded per answer on the curve; None if the LLM decodes nothing there.

        evaluated: the most tokens per answer of the run's evaluation.
        """
        decodes = self.decoded_turns and self.objective is None
        return (self.trace_tokens or self.decoded_tokens or evaluated) if decodes else None

    @model_validator(mode="after")
    def _sized(self) -> Self:
        if self.own_examples <= 0 or min((self.beside or {"": 1}).values()) <= 0:
            raise ValueError(f"beside {self.beside} leaves {self.own_examples} of {self.examples} examples")
        if self.adapter_lr and set(self.train) != {"adapter", "lora"}:
            raise ValueError("adapter_lr is the adapter's beside LoRA, but this stage does not train both")
        if self.frame_dropout and self.objective is None:
            raise ValueError("frame_dropout is for stages with objective: ctc, but this stage has none")
        if self.traces and self.objective:
            raise ValueError("objective: ctc goes without traces; leave one of the two out")
        return self


class RunConfig(Strict):
    """Every setting that affects a run's numbers. Studies that resolve to equal configs share one run."""

    corpus: CorpusConfig
    encoder: EncoderConfig
    llm: str
    adapter: AdapterConfig | None  # None: no speech, the LLM reads transcripts
    audio_llm: str | None = None  # a pre-trained audio LLM, in place of encoder, adapter and llm
    lora: LoraConfig | None
    stages: list[StageConfig]  # empty: no training
    evaluation: EvaluationConfig
    precision: Precision
    seed: Seed
    prompt: PromptStyle | None = None  # None: the terse prompts of the embedded LLMs
    asr_fallback: AsrFallback | None = None  # only of runs that read a recogniser's text

    @model_validator(mode="after")
    def _parts(self) -> RunConfig:
        if self.lora is None and any("lora" in stage.train for stage in self.stages):
            raise ValueError("a stage trains lora, but lora is off for this variant")
        if not self.hears and any("adapter" in stage.train for stage in self.stages):
            raise ValueError("a stage trains the adapter, but adapter is null for this variant")
        if self.adapter and self.audio_llm:
            raise ValueError("an audio LLM brings its own adapter; set adapter to null, or audio_llm")
        if not self.hears and self.evaluation.audio == "other":
            raise ValueError("audio: other needs an adapter, since without one nothing is heard")
        if not self.hears and self.evaluation.split in LANGUAGES:
            raise ValueError(f"turns in {self.evaluation.split} are heard, but this variant has no adapter")
        if self.evaluation.corpus and self.evaluation.text == "asr":
            raise ValueError("text: asr is of the run's own corpus, but the evaluation names another one")
        if self.hears and self.reads_asr(len(self.stages)):
            raise ValueError("text: asr is what a text LLM reads, but this variant has an adapter and hears")
        if self.asr_fallback and not self.reads_asr(len(self.stages)):
            raise ValueError("asr_fallback is for runs that read a recogniser's text, and this one does not")
        if not self.hears and any(stage.distillation for stage in self.stages):
            raise ValueError("distillation teaches a model that hears, but this variant has no adapter")
        if any(stage.objective == "ctc" for stage in self.stages):
            if self.audio_llm:
                raise ValueError("objective: ctc starts an untrained adapter; an audio LLM brings its own")
            if not (self.adapter and self.adapter.scaled):
                raise ValueError(
                    "objective: ctc needs an adapter whose outputs have the norm of the LLM's embeddings; "
                    "set scaled: true"
                )
        if not self.hears and (heard := heard_tasks(self.tasks(len(self.stages)))):
            raise ValueError(
                f"task {', '.join(heard)} hears its instructions, but this variant has no adapter"
            )
        return self

    @property
    def tested(self) -> CorpusConfig:
        """The corpus of the test set: the one that is trained on, or the one that the evaluation names."""
        return self.evaluation.corpus or self.corpus

    @property
    def hears(self) -> bool:
        return self.adapter is not None or self.audio_llm is not None

    @property
    def needs_audio(self) -> bool:
        """Whether the run needs the corpus's audio, for the model or for a recogniser whose text it reads."""
        return self.hears or bool(self.recognised)

    @property
    def frames_a_second(self) -> int:
        """Encoder frames per second: 50 for Whisper, 25 for an audio LLM, whose tower pools them by two."""
        return 25 if self.audio_llm else 50

    def as_stored(self, **how: Any) -> dict:
        """Return plain data with the keys of records and digests. how: keywords of `model_dump`."""
        plain = self.model_dump(by_alias=True, **how)
        if self.evaluation.engine is None:  # newer than most records, as is asr_fallback
            plain["evaluation"].pop("engine", None)
        if self.asr_fallback is None:
            plain.pop("asr_fallback", None)
        return plain

    def tasks(self, n_stages: int, evaluated: bool = True) -> set[TaskName]:
        """Return the tasks of the first `n_stages` stages and, if `evaluated`, of the evaluation."""
        seen = {task for stage in self.stages[:n_stages] for task in stage.taught}
        return seen | ({self.evaluation.task} if evaluated else set())

    def reads_asr(self, n_stages: int, evaluated: bool = True) -> bool:
        """Whether the first `n_stages` stages or, if `evaluated`, the evaluation read a recogniser's text."""
        texts = [stage.text for stage in self.stages[:n_stages]]
        return "asr" in (*texts, self.evaluation.text if evaluated else "gold")

    @property
    def recognised(self) -> set[str]:
        """Splits that the run reads as a recogniser's text."""
        learned = {"train", "validation"} if self.reads_asr(len(self.stages), evaluated=False) else set()
        return learned | ({self.evaluation.split} if self.evaluation.text == "asr" else set())
