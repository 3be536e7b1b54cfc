"""What a stage learns from: turns, their encoder frames or transcripts, and stored traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from speechllm_bench.data.frames import FrameStore
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
