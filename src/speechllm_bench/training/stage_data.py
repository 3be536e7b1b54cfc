"""What a stage learns from: turns, their frames or transcripts, stored traces; and how much it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from speechllm_bench.data.frames import FrameStore
from speechllm_bench.models.inputs import PromptTokens
from speechllm_bench.settings.config import Text
from speechllm_bench.storage.schema import Example, SlotType, Utterance
from speechllm_bench.tasks.trace import Trace


@dataclass(frozen=True)
class Data:
    """The training and validation data of a stage."""

    train: list[Utterance]
    validation: list[Utterance]
    slot_types: dict[str, SlotType]
    frames: FrameStore | None  # None: the model reads text
    recognised: Mapping[str, str] = field(default_factory=dict)  # utterance id -> ASR transcript
    instructions: FrameStore | None = None  # frames of spoken instructions, where a task has them
    traces: Mapping[str, tuple[Example, Trace]] = field(default_factory=dict)  # utterance id -> stored trace

    def heard(
        self, utterances: Sequence[Utterance], text: Text, examples: Sequence[Example]
    ) -> dict[str, Any]:
        """Return the input of `collate` and `decode` for these turns: frames or transcripts, as keywords.

        text: gold or ASR transcripts, for a model that reads. examples: one per turn; where an example has a
        spoken instruction, its frames follow those of the turn.
        """
        if self.frames is not None:
            pairs = zip(utterances, examples, strict=True)
            return {"frames": [self._frames(u.id, e.instruction) for u, e in pairs]}
        if text == "asr":
            return {"transcripts": [self.recognised[u.id] for u in utterances]}
        return {"transcripts": [u.transcript for u in utterances]}

    def _frames(self, utterance_id: str, instruction: str) -> np.ndarray:
        """Return (T, D): the frames of the turn, then those of the instruction if there is one."""
        frames = present(self.frames)[utterance_id]
        return np.concatenate([frames, present(self.instructions)[instruction]]) if instruction else frames

    def n_frames(self, utterance: Utterance, example: Example) -> int:
        """Return the number of frames that `heard` gives for this example."""
        spoken = present(self.instructions).n_frames(example.instruction) if example.instruction else 0
        return present(self.frames).n_frames(utterance.id) + spoken


@dataclass(frozen=True)
class Seen:
    """Amounts of data in the examples of a stage, for its record."""

    padding_share: float  # padded positions / all training positions
    speech_hours: float
    text_tokens: int  # of answers, and of transcripts that a text LLM read in place of speech or as a teacher
    prompt_tokens: PromptTokens
    stored_traces: int  # examples whose trace an annotator wrote (`StageConfig.traces`), not the embedded one
    left_out: dict[str, int] | None = None  # turns by split without a CTC loss (`WarmStart.left_out`)
    ctc_head: dict[str, Tensor] | None = None  # weights of a warm start's CTC head

    def record(self) -> dict:
        numbers = {"padding_share": round(self.padding_share, 4), "speech_hours": round(self.speech_hours, 3)}
        counts = {"text_tokens": self.text_tokens, "prompt_tokens": asdict(self.prompt_tokens)}
        return numbers | counts | {"stored_traces": self.stored_traces, "left_out": self.left_out}


def shifted(frames: np.ndarray, limit: int, seed: Sequence[int]) -> np.ndarray:
    """Return (n + T, D): n zero frames, then `frames` (T, D). n in [0, limit) is drawn with `seed`.

    An adapter that stacks frames then gets another grouping of a turn's frames in each epoch, which makes
    the turn harder to memorise.
    """
    n = int(np.random.default_rng(seed).integers(limit))
    return np.pad(frames, ((n, 0), (0, 0)))


def present(store: FrameStore | None) -> FrameStore:
    """Return `store`, which must not be None: the model hears speech or a spoken instruction."""
    assert store is not None, "only speech that is heard has frames"
    return store
