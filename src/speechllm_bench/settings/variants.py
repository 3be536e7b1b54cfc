"""Variants: the settings that a study can vary, as its YAML names them, before a profile gives them sizes."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from speechllm_bench.settings.config import Stage
from speechllm_bench.settings.evaluation_config import Evaluation, TaskName
from speechllm_bench.settings.profiles import Budget, Profile
from speechllm_bench.settings.strict import Strict
from speechllm_bench.tasks import transcription


class StageRecipe(Stage):
    """A stage as a study names it: its budget is the sum of the profile's budgets named.

    Where that is 0 the profile has no such stage. `beside` adds examples of other tasks, their budgets
    summed in the same way, and leaves the stage's own examples what they are; so does `again`, which puts the
    stage's own questions once more, as another task.
    """

    budget: list[Budget] = Field(min_length=1)
    lr_factor: float = Field(default=1.0, gt=0)  # times the variant's learning rates
    # the budget: what makes variants equal in tokens, not in examples
    times: float = Field(default=1.0, gt=0)
    beside: dict[TaskName, list[Budget]] | None = None

    @model_validator(mode="after")
    def _budgeted(self) -> Self:
        if self.objective == "ctc" and self.budget != ["warm_start"]:
            raise ValueError(f"objective: ctc has the budget [warm_start], got {self.budget}")
        return self


WARM_START = StageRecipe(
    name="warm_start",
    tasks={transcription.NAME: 1.0},
    train=["adapter"],
    budget=["warm_start"],
    objective="ctc",
)


class Variant(Strict):
    """The settings a study can vary."""

    adapter: str | None  # of the profile's; null: the LLM reads the gold transcript
    lora: bool | Literal["qkv"]  # qkv: the profile's `lora_qkv`
    stages: list[StageRecipe]
    evaluation: Evaluation = Evaluation()
    lr_factor: float = Field(default=1.0, gt=0)  # times the profile's learning rates
    lora_factor: float = Field(default=1.0, gt=0)  # times `lora_lr`, besides
    separate_rates: bool = False  # beside LoRA the adapter keeps the profile's `lr`, and not `lora_lr`
    warmup_ratio: float | None = None  # None: the profile's
    width_factor: float = Field(default=1.0, gt=0)  # times the width of the profile's adapter
    scaled: bool = False  # the adapter's outputs, as in `adapter_config.py`; False: as the profile has it
    train_share: float | None = Field(
        None, gt=0, lt=1
    )  # of the training utterances, seen the more often; None: all
    warm_start: bool = True  # False: no warm start, though the profile has it everywhere
    # The profile's audio LLM, or a role among its `audio_llms`, in place of encoder, adapter and LLM.
    audio_llm: bool | str = False
    corpus: str | None = None  # a name among the profile's `corpora`; None: its `corpus`
    llm: str | None = None  # a role among the profile's `llms`; None: its `llm`
    # Other settings of the profile by dotted path, as `lora.rank: 16`; the factors above apply to these.
    override: dict[str, Any] = Field(default_factory=dict)

    def aligned(self, profile: Profile) -> list[StageRecipe]:
        """Its stages, behind the warm start where the profile has that everywhere."""
        everywhere = profile.warm_start and profile.warm_start.everywhere and self.warm_start
        trains = self.adapter and any("adapter" in stage.train for stage in self.stages)
        reading = [stage for stage in self.stages if stage.reads]  # what needs no adapter comes first
        speech = self.stages[len(reading) :]
        return [*reading, *([WARM_START] if everywhere and trains else []), *speech]
