"""A CTC head over speech tokens: it decodes the adapter's output without running the LLM.

The scores of a speech token are its scaled cosines with frozen input embeddings of the LLM and with one
learned blank. A low CTC loss means that the adapter's outputs are near the embeddings of the spoken tokens
(ours; CTC: Graves et al. 2006).

Axes: B utterances, L speech tokens, E LLM embedding width, V tokens that the head knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby, pairwise

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from speechllm_bench.models.inputs import pad_frames
from speechllm_bench.models.speech_llm import SpeechLLM

BLANK = 0  # index of the blank among the scores; token i of the head has index i + 1
BLANK_DEVIATION = 0.05  # standard deviation of the blank's initial values
LOG_SCALE = 2.5  # initial value: cosines lie within ±1, so unscaled the softmax over V tokens is almost flat


class CtcHead(nn.Module):
    """Maps speech tokens (B, L, E) to scores (B, L, 1 + V); the blank's score comes first.

    embeddings: all input embeddings of the LLM, (vocabulary, E). tokens: ids of the V tokens that are scored.
    The learned parameters are the blank and the scale of the cosines.
    """

    def __init__(self, embeddings: Tensor, tokens: Collection[int]):
        super().__init__()
        self.tokens = sorted(tokens)
        self.places = {token: place for place, token in enumerate(self.tokens, start=BLANK + 1)}
        chosen = embeddings.detach()[self.tokens].float()
        self.register_buffer("table", nn.functional.normalize(chosen, dim=1), persistent=False)  # (V, E)
        blank = BLANK_DEVIATION * torch.randn(chosen.shape[1])  # drawn on the CPU: the same for every device
        self.blank = nn.Parameter(blank.to(chosen.device))
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE, device=chosen.device))

    def forward(self, speech: Tensor) -> Tensor:
        table = torch.cat([nn.functional.normalize(self.blank, dim=0)[None], self.table])  # (1 + V, E)
        with torch.autocast(speech.device.type, enabled=False):
            cosines = nn.functional.normalize(speech.float(), dim=-1) @ table.T
            return cosines * self.log_scale.exp()

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors that a stage stores of the head: learned parameters and token ids."""
        return {"blank": self.blank, "log_scale": self.log_scale, "tokens": torch.tensor(self.tokens)}


def token_ids(tokenizer: PreTrainedTokenizerBase, transcript: str) -> list[int]:
    """Return a transcript's token ids as the text LLM reads them in place of speech (`inputs.collate`)."""
    return tokenizer(f" {transcript}", add_special_tokens=False)["input_ids"]


def positions_needed(tokens: Sequence[int]) -> int:
    """Return the number of speech tokens that CTC needs: one per token, and a blank between equal ones."""
    return len(tokens) + sum(a == b for a, b in pairwise(tokens))


def loss(scores: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """CTC loss in nats per target token of the utterances that are long enough for CTC; 0 where none is.

    scores: (B, L, 1 + V), of which `lengths` (B,) are speech. targets: for each utterance the score indices
    of its tokens, without the blank.
    """
    fits = torch.tensor([positions_needed(t) for t in targets]) <= lengths.cpu()  # (B,)
    sizes = torch.tensor([len(t) for t in targets])
    nats = nn.functional.ctc_loss(
        scores.float().log_softmax(-1).transpose(0, 1),  # (L, B, 1 + V)
        torch.tensor([place for t in targets for place in t], device=scores.device),
        lengths.cpu(),
        sizes,
        blank=BLANK,
        reduction="sum",
        zero_infinity=True,  # for utterances that are too short; they are not counted below either
    )
    return nats / sizes[fits].sum().clamp(min=1)


def best_path(scores: Tensor, lengths: Tensor) -> list[list[int]]:
    """Return the score indices of the best path per utterance, with repetitions and blanks removed."""
    paths = scores.argmax(-1).tolist()  # (B, L)
    return [collapsed(path[:n]) for path, n in zip(paths, lengths.tolist(), strict=True)]


def collapsed(path: Iterable[int]) -> list[int]:
    return [place for place, _ in groupby(path) if place != BLANK]


@torch.inference_mode()
def transcribe(
    model: SpeechLLM,
    head: CtcHead,
    tokenizer: PreTrainedTokenizerBase,
    frames: Sequence[np.ndarray],
    batch_size: int,
) -> list[str]:
    """Return transcripts of (T, D) frames from the adapter and the CTC head, without the LLM.

    An adapter that was trained further after the warm start can be decoded with the warm start's head as
    well.
    """
    training, said = model.training, []
    model.eval()
    for start in range(0, len(frames), batch_size):
        padded, lengths = (x.to(head.table.device) for x in pad_frames(frames[start : start + batch_size]))
        assert model.adapter is not None
        scores = head(model.adapter(padded, lengths))
        found = best_path(scores, model.adapter.out_length(lengths))
        said += [tokenizer.decode([head.tokens[place - 1] for place in places]).strip() for places in found]
    model.train(training)
    return said
