"""Settings of an evaluation: the task, the test turns, and the model or floor that answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from speechllm_bench.settings.corpus_config import CorpusConfig
from speechllm_bench.settings.strict import Strict
from speechllm_bench.storage.schema import Gold
from speechllm_bench.tasks import TASKS, USUAL
from speechllm_bench.tasks.slots import Wording

if TYPE_CHECKING:  # a type checker cannot compute the names from the registry of tasks
    TaskName = str
    Answerer = str
else:
    TaskName = Literal[tuple(TASKS)]
    Answerer = Literal[("model", *(name for task in TASKS.values() for name in task.answerers))]
Text = Literal["gold", "asr"]  # what a text LLM reads: gold transcripts, or those of Whisper's own decoder
Engine = Literal["vllm"]  # what decodes an evaluation, besides the suite's own code (models/vllm_engine.py)
LANGUAGES = ("es", "fr")  # languages besides English, as splits of data/corpora/languages
LANGUAGES_GOLD: tuple[Gold, ...] = ("transcript", "entities")  # gold of the turns in these splits


def named_tasks(tasks: Iterable[TaskName]) -> str:
    """Return tasks as words of a sentence: "the task slots", "the tasks ner, sentiment"."""
    names = list(tasks)
    return f"the {'task' if len(names) == 1 else 'tasks'} {', '.join(names)}"


class Evaluation(Strict):
    """The questions that a run is evaluated on, and the model or floor that answers them."""

    split: Literal["validation", "A-test", "B-test", "C-test", "es", "fr"] = "A-test"
    task: TaskName = USUAL
    slot_types: Literal["in_domain", "out_of_domain"] = "in_domain"
    audio: Literal["own", "other"] = "own"  # other: another turn's audio, the control called wrong audio
    answerer: Answerer = "model"
    text: Text = "gold"  # transcripts that a text LLM reads: gold, or Whisper's own
    beams: int | None = Field(default=None, gt=0)  # width of beam search, 1: greedy; None: the profile's
    # Earlier turns shown, or all where there are fewer; None: 0 to 3, drawn. This key and the next two
    # are only for tasks that support them (`Task.asking`). Without them questions are as in training.
    context: int | None = Field(default=None, ge=0)
    distractors: int | None = Field(default=None, ge=1)  # number of distractors; None: 1 to 5, drawn
    # described: slot names with descriptions; paraphrased: names that no training uses; None: names alone.
    wording: Wording | None = None
    # The corpus that the split belongs to, by its name in the profile's `corpora`; None: the training corpus.
    corpus: str | None = None

    @property
    def asking(self) -> dict:
        """Fixed parts of the question, as keywords of the task's `example`."""
        return self.model_dump(include={"context", "distractors", "wording"}, exclude_none=True)

    @model_validator(mode="after")
    def _asked(self) -> Self:
        if not self.asking.keys() <= set(TASKS[self.task].asking):
            can = named_tasks(task for task in TASKS if self.asking.keys() <= set(TASKS[task].asking))
            raise ValueError(f"{', '.join(self.asking)} can be fixed of {can} alone, not {self.task}")
        spoken = [task for task in TASKS if set(TASKS[task].gold) <= set(LANGUAGES_GOLD)]
        if self.split in LANGUAGES and self.task not in spoken:
            raise ValueError(f"turns in {self.split} are for {' and '.join(spoken)}, not for {self.task}")
        if self.answerer not in ("model", *TASKS[self.task].answerers):
            can = named_tasks(task for task in TASKS if self.answerer in TASKS[task].answerers)
            raise ValueError(f"answerer: {self.answerer} answers {can} alone, not {self.task}")
        return self


class EvaluationConfig(Evaluation):
    """An evaluation at the size of a profile."""

    corpus: CorpusConfig | None = None  # type: ignore[assignment]  # the named corpus with its sizes
    beams: int | None = Field(default=None, gt=1)  # width of beam search; None: greedy decoding
    engine: Engine | None = None  # None: the suite's own decoding
    batch_size: int = Field(gt=0)
    max_new_tokens: int = Field(gt=0)
    trace_tokens: int | None = Field(
        default=None, gt=0
    )  # replaces max_new_tokens where an answer may have a trace


class Questions(NamedTuple):
    """What the questions of two variants have in common. A floor has to share it with a row."""

    split: str
    corpus: str | None = None  # None: the one that is trained on
    slot_types: str = "in_domain"
    distractors: int | None = None  # None: a number that is drawn
    metric: str = "f1"

    @property
    def shown(self) -> str:
        """As "A-test", "B-test, unseen slot types" or "A-test, 3 distractors"."""
        parts = [self.split]
        parts += ["unseen slot types"] if self.slot_types == "out_of_domain" else []
        each = "1 distractor" if self.distractors == 1 else f"{self.distractors} distractors"
        return ", ".join([*parts, each] if self.distractors is not None else parts)


def questions_of(evaluation: Evaluation) -> Questions:
    return Questions(
        split=evaluation.split,
        corpus=getattr(evaluation.corpus, "name", evaluation.corpus),
        slot_types=evaluation.slot_types,
        distractors=evaluation.distractors,
        metric=TASKS[evaluation.task].main.name,
    )
