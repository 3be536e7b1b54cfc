"""Amounts that a training stage has seen, for its record."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor

from speechllm_bench.models.inputs import PromptTokens


@dataclass(frozen=True)
class Seen:
    """Amounts that the examples of a stage were made of."""

    padding_share: float  # of the training positions
    speech_hours: float
    text_tokens: int  # of the answers, and of what a text LLM read in place of speech or as a teacher
    prompt_tokens: PromptTokens
    stored_traces: int  # examples whose trace an annotator wrote (`StageConfig.traces`), not the embedded one
    left_out: dict[str, int] | None = None  # turns by split that CTC could not learn (`WarmStart.left_out`)
    ctc_head: dict[str, Tensor] | None = None  # what a warm start leaves beside the adapter

    def record(self) -> dict:
        """Its numbers, for the stage's record."""
        numbers = {"padding_share": round(self.padding_share, 4), "speech_hours": round(self.speech_hours, 3)}
        counts = {"text_tokens": self.text_tokens, "prompt_tokens": asdict(self.prompt_tokens)}
        return numbers | counts | {"stored_traces": self.stored_traces, "left_out": self.left_out}
