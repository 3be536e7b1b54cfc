"""Amounts of data that a training stage has seen, for its record."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor

from speechllm_bench.models.inputs import PromptTokens


@dataclass(frozen=True)
class Seen:
    """Amounts of data in the examples of a stage."""

    padding_share: float  # padded positions / all training positions
    speech_hours: float
    text_tokens: int  # of answers, and of transcripts that a text LLM read in place of speech or as a teacher
    prompt_tokens: PromptTokens
    stored_traces: int  # examples whose trace an annotator wrote (`StageConfig.traces`), not the embedded one
    left_out: dict[str, int] | None = None  # turns by split without a CTC loss (`WarmStart.left_out`)
    ctc_head: dict[str, Tensor] | None = None  # weights of a warm start's CTC head

    def record(self) -> dict:
        """Return the numbers for the stage's record."""
        numbers = {"padding_share": round(self.padding_share, 4), "speech_hours": round(self.speech_hours, 3)}
        counts = {"text_tokens": self.text_tokens, "prompt_tokens": asdict(self.prompt_tokens)}
        return numbers | counts | {"stored_traces": self.stored_traces, "left_out": self.left_out}
