"""Settings of an evaluation: what is asked of which turns, and who answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from speechllm_bench.settings.corpus_config import CorpusConfig
from speechllm_bench.settings.strict import Strict
from speechllm_bench.storage.schema import Gold
from speechllm_bench.tasks import TASKS, USUAL
from speechllm_bench.tasks.slots import Wording

if TYPE_CHECKING:  # the names stand in the registry of tasks, which a type checker does not run
    TaskName = str
    Answerer = str
else:
    TaskName = Literal[tuple(TASKS)]
    Answerer = Literal[("model", *(name for task in TASKS.values() for name in task.answerers))]
Text = Literal["gold", "asr"]  # what a text LLM reads: transcripts, or what Whisper's own decoder heard
LANGUAGES = ("es", "fr")  # besides English: splits of data/corpora/languages
LANGUAGES_GOLD: tuple[Gold, ...] = ("transcript", "entities")  # of their turns


def named_tasks(tasks: Iterable[TaskName]) -> str:
    """Tasks as a sentence has them: "the task slots", "the tasks ner, sentiment"."""
    names = list(tasks)
    return f"the {'task' if len(names) == 1 else 'tasks'} {', '.join(names)}"


class Evaluation(Strict):
    """What is asked of a run, and who answers."""

    split: Literal["validation", "A-test", "B-test", "C-test", "es", "fr"] = "A-test"
    task: TaskName = USUAL
    slot_types: Literal["in_domain", "out_of_domain"] = "in_domain"
    audio: Literal["own", "other"] = "own"  # other: another turn's audio, the control called wrong audio
    answerer: Answerer = "model"
    text: Text = "gold"
    beams: int | None = Field(default=None, gt=0)  # of beam search, 1: greedy; None: the profile's
    # Of tasks that can be asked so (`Task.asking`). None: as in training; of slots 0 to 3 turns and 1 to 5
    # distractors, drawn, and names alone.
    context: int | None = Field(default=None, ge=0)  # turns before this one, or as many as there are
    distractors: int | None = Field(default=None, ge=1)
    wording: Wording | None = None
    # A name among the profile's `corpora`, that the split is of; None: the corpus that is trained on.
    corpus: str | None = None

    @property
    def asking(self) -> dict:
        """What is fixed of the question, as keywords of the task's `example`."""
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

    corpus: CorpusConfig | None = None  # type: ignore[assignment]  # the one that was named
    beams: int | None = Field(default=None, gt=1)  # of beam search; None: one, that is greedy decoding
    batch_size: int = Field(gt=0)
    max_new_tokens: int = Field(gt=0)
    trace_tokens: int | None = Field(default=None, gt=0)  # in its place where an answer may have a trace
