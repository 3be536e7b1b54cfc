"""The CTC warm start: the adapter learns to predict a turn's tokens before the LLM is used (ours).

A `CtcHead` scores the adapter's outputs under the CTC loss. The LLM is not run, so a step costs only the
adapter and the head. The head is trained with the adapter and is not used in later stages, like the
classifier. Its few weights are stored with the stage, so that a later adapter can be decoded with it.

The targets are the transcript's tokens as the text LLM reads them in place of the speech, with a space before
the first word, because the adapter's output takes the place of that text. Answers begin without a space.
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
    """The CTC head, targets and losses of a stage.

    n_frames: returns the number of encoder frames of an utterance, given its id.
    left_out: number of turns without a CTC loss, by split. Such a turn has fewer speech tokens than CTC
    needs, or (validation only) a token that is in no training transcript. Training turns of this kind stay
    in the batches, so that all adapters see the same batches.
    Raises UserError where no training turn has enough speech tokens.
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
        """CTC loss of training turns in nats per target token; frames: one (T, D) array per turn."""
        padded, lengths = self._padded(frames)
        if self.stage.frame_dropout:
            padded = nn.functional.dropout(padded, self.stage.frame_dropout)
        scores = self.head(self.adapter(padded, lengths))
        return {"loss": ctc.loss(scores, self.adapter.out_length(lengths), self._targets(turns))}

    def validation(self, turns: Sequence[Utterance], frames: FrameStore) -> Callable[[], dict[str, float]]:
        """Return a function that computes the validation values.

        They are `loss` (nats per target token) on the first `validation_examples` turns, and `wer` of greedy
        decoding on the first `decoded_turns` turns.
        """
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
        """Return whether the adapter gives enough speech tokens for the CTC loss of a turn."""
        room = self.adapter.out_length(self.n_frames(turn.id))
        return ctc.positions_needed(self.tokens[turn.id]) <= room

    def _targets(self, turns: Sequence[Utterance]) -> list[list[int]]:
        return [[self.head.places[token] for token in self.tokens[turn.id]] for turn in turns]

    def _padded(self, frames: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Return the padded frames (B, T, D) and their lengths (B,), on the model's device."""
        padded, lengths = pad_frames(frames)
        return padded.to(self.head.table.device), lengths.to(self.head.table.device)


def padding(frames: Sequence[np.ndarray]) -> tuple[int, int]:
    """Return the number of padded positions and of all positions in a batch of (T, D) frames."""
    lengths = [len(f) for f in frames]
    whole = len(lengths) * max(lengths)
    return whole - sum(lengths), whole
