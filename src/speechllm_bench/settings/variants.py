"""Variants: the settings that a study's YAML can vary. A profile adds the sizes (`experiments.resolve`)."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from speechllm_bench.settings.config import Stage
from speechllm_bench.settings.evaluation_config import Evaluation, TaskName
from speechllm_bench.settings.profiles import Budget, Profile
from speechllm_bench.settings.strict import Strict
from speechllm_bench.tasks import transcription


class StageRecipe(Stage):
    """A stage in a study's YAML. Its budget is the sum of the profile's budgets that it names.

    If the sum is 0, the profile has no such stage. `beside` adds examples of other tasks, whose budgets are
    summed in the same way. `again` asks the stage's own questions a second time, as another task. Neither
    changes the stage's own examples.
    """

    budget: list[Budget] = Field(min_length=1)  # budgets of the profile that are summed
    lr_factor: float = Field(default=1.0, gt=0)  # factor on the variant's learning rates
    # Factor on the budget, to make variants equal in tokens and not in examples.
    times: float = Field(default=1.0, gt=0)
    beside: dict[TaskName, list[Budget]] | None = None  # budgets of further tasks, which are added

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
    """The settings that a study can vary."""

    adapter: str | None  # name among the profile's adapters; null: no speech, the LLM reads transcripts
    lora: bool | Literal["qkv"]  # qkv: with the profile's `lora_qkv`
    stages: list[StageRecipe]
    evaluation: Evaluation = Evaluation()
    lr_factor: float = Field(default=1.0, gt=0)  # factor on the profile's learning rates
    lora_factor: float = Field(default=1.0, gt=0)  # further factor on `lora_lr`
    separate_rates: bool = False  # True: beside LoRA the adapter uses the profile's `lr`; False: `lora_lr`
    warmup_ratio: float | None = None  # None: the profile's
    width_factor: float = Field(default=1.0, gt=0)  # factor on the width of the profile's adapter
    scaled: bool = False  # True: scales the adapter's outputs (`adapter_config.py`); False: as in the profile
    # Share of the training utterances, which are then seen more often; None: all.
    train_share: float | None = Field(None, gt=0, lt=1)
    warm_start: bool = True  # False: no warm start, even if the profile has it everywhere
    # True: the profile's audio LLM in place of encoder, adapter and LLM; text: a role in its `audio_llms`.
    audio_llm: bool | str = False
    corpus: str | None = None  # a name in the profile's `corpora`; None: its `corpus`
    llm: str | None = None  # a role in the profile's `llms`; None: its `llm`
    # Other settings of the profile by dotted path, such as `lora.rank: 16`; the factors above apply to them.
    override: dict[str, Any] = Field(default_factory=dict)

    def aligned(self, profile: Profile) -> list[StageRecipe]:
        """Return its stages, with the warm start before speech stages where the profile has it everywhere."""
        everywhere = profile.warm_start and profile.warm_start.everywhere and self.warm_start
        trains = self.adapter and any("adapter" in stage.train for stage in self.stages)
        reading = [stage for stage in self.stages if stage.reads]  # they need no adapter, so they come first
        speech = self.stages[len(reading) :]
        return [*reading, *([WARM_START] if everywhere and trains else []), *speech]
