"""The CTC warm start: the adapter learns to say a turn's tokens before the LLM is in the loop (ours).

Its outputs are scored by a `CtcHead` under CTC, speech tokens as they are, so a step costs the adapter and no
LLM. The head learns beside the adapter and is left behind with the stage, as a classifier is; its few weights
are stored with the stage, so that what a later adapter makes audible can be asked for.

Targets are a transcript's tokens as the text LLM reads them in place of the speech, with a space before the
first word: the adapter's output stands where that text would. What is answered begins without one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from speechllm_bench.data import questions
from speechllm_bench.data.frames import FrameStore
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score
from speechllm_bench.models import ctc
from speechllm_bench.models.inputs import pad_frames
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.settings.config import StageConfig
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.tasks import transcription


class WarmStart:
    """A stage's head, targets and losses.

    n_frames: by utterance id. `left_out` counts the turns, by split, of which nothing is learned, or whose
    loss is not taken: there are fewer speech tokens than CTC needs for their tokens, or (validation) a token
    that no training transcript has. Turns of which nothing is learned are seen all the same, so that all
    adapters see the same batches.
    """

    def __init__(
        self,
        stage: StageConfig,
        model: SpeechLLM,
        tokenizer: PreTrainedTokenizerBase,
        train: Sequence[Utterance],
        n_frames: Callable[[str], int],
        seed: int,
    ):
        assert model.adapter is not None
        self.stage, self.model, self.tokenizer, self.n_frames = stage, model, tokenizer, n_frames
        self.adapter = model.adapter
        self.tokens = {turn.id: ctc.token_ids(tokenizer, turn.transcript) for turn in train}
        torch.manual_seed(seed)
        self.head = ctc.CtcHead(
            model.llm.get_input_embeddings().weight, {t for tokens in self.tokens.values() for t in tokens}
        )
        short = sum(not self._fits(turn) for turn in train)
        if short == len(train):
            raise UserError(
                "none of the training turns has as many speech tokens as its transcript has tokens, which "
                "objective: ctc needs; take an adapter with a higher rate, or leave the warm start out"
            )
        self.left_out = {"train": short}

    def parameters(self) -> dict[str, nn.Parameter]:
        return {f"ctc_head.{name}": parameter for name, parameter in self.head.named_parameters()}

    def loss(self, turns: Sequence[Utterance], frames: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Nats per target token of training turns; frames: (T, D), one array a turn."""
        padded, lengths = self._padded(frames)
        if self.stage.frame_dropout:
            padded = nn.functional.dropout(padded, self.stage.frame_dropout)
        scores = self.head(self.adapter(padded, lengths))
        return {"loss": ctc.loss(scores, self.adapter.out_length(lengths), self._targets(turns))}

    def validation(self, turns: Sequence[Utterance], frames: FrameStore) -> Callable[[], dict[str, float]]:
        """Loss on the first of these turns, and WER of greedy decoding on the first of them."""
        validated = questions.with_gold(turns, [transcription.NAME], self.stage.validation_examples)
        self.tokens |= {turn.id: ctc.token_ids(self.tokenizer, turn.transcript) for turn in validated}
        known = [turn for turn in validated if set(self.tokens[turn.id]) <= self.head.places.keys()]
        asked = [turn for turn in known if self._fits(turn)]
        self.left_out["validation"] = len(validated) - len(asked)
        decoded = questions.with_gold(turns, [transcription.NAME], self.stage.decoded_turns)
        size = self.stage.batch_size

        @torch.inference_mode()
        def validate() -> dict[str, float]:
            self.model.eval()
            nats, targets, values = 0.0, 0, {}
            for batch in (asked[i : i + size] for i in range(0, len(asked), size)):
                padded, lengths = self._padded([frames[turn.id] for turn in batch])
                scores = self.head(self.adapter(padded, lengths))
                wanted = self._targets(batch)
                n = sum(map(len, wanted))
                nats += ctc.loss(scores, self.adapter.out_length(lengths), wanted).item() * n
                targets += n
            if targets:
                values["loss"] = nats / targets
            if decoded:
                heard = [frames[turn.id] for turn in decoded]
                said = ctc.transcribe(self.model, self.head, self.tokenizer, heard, size)
                values["wer"] = score.score_transcripts(decoded, said)["metrics"]["wer"]["value"]
            return values

        return validate

    def _fits(self, turn: Utterance) -> bool:
        """Whether the adapter makes enough speech tokens of a turn for CTC."""
        room = self.adapter.out_length(self.n_frames(turn.id))
        return ctc.positions_needed(self.tokens[turn.id]) <= room

    def _targets(self, turns: Sequence[Utterance]) -> list[list[int]]:
        return [[self.head.places[token] for token in self.tokens[turn.id]] for turn in turns]

    def _padded(self, frames: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """(B, T, D) frames and (B,) their lengths, on the model's device."""
        padded, lengths = pad_frames(frames)
        return padded.to(self.head.table.device), lengths.to(self.head.table.device)


def padding(frames: Sequence[np.ndarray]) -> tuple[int, int]:
    """How many positions of a batch of (T, D) frames are padding, and how many there are."""
    lengths = [len(f) for f in frames]
    whole = len(lengths) * max(lengths)
    return whole - sum(lengths), whole
