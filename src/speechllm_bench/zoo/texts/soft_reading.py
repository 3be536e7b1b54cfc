"""Transcripts as an adapter gives them: in pieces, with gaps between, blurred and noisy.

A large LLM reads text however it is cut, spaced and misspelt. A small one that has only seen whole words
does not, and no adapter in front of it can learn to be understood while it is frozen. So its last phases
of training read transcripts in this way. Nothing is heard here: all of it is made from text.

Cutting follows BPE dropout (Provilkov et al., 1910.13267), noise follows NEFTune (Jain et al., 2310.05914).
Axes: B examples, N positions, E embedding width.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from speechllm_bench.models.inputs import Batch
from speechllm_bench.models.speech_llm import SpeechLLM

# Every example draws its own amount of each, up to these.
CUT = 0.7  # share of the words' tokens that are cut in two, and of the halves again
GAPS = 0.3  # chance of one more blank before a token
BLUR = 0.3  # of both neighbours, added to a token
NOISE = 0.5  # standard deviation, in units of the embeddings' root mean square
LOUDNESS = 0.3  # standard deviation of the logarithm of an example's scale
WHOLE = 0.2  # share of the examples that are not cut, and of those without gaps


class Pieces:
    """Cuts transcripts into pieces of a few characters, with blanks between: lists of token ids."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.blank = self._ids(" ")[0]

    def __call__(self, transcript: str, rng: random.Random) -> list[int]:
        cut, gaps = (0.0 if rng.random() < WHOLE else rng.uniform(0, most) for most in (CUT, GAPS))
        pieces: list[int] = []
        for token in self._ids(" " + transcript):
            for piece in self._cut(token, cut, rng):
                while rng.random() < gaps:
                    pieces.append(self.blank)
                pieces.append(piece)
        return pieces

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _cut(self, token: int, share: float, rng: random.Random) -> list[int]:
        """The token, or what both sides of a cut at random are in tokens, perhaps cut again."""
        text = self.tokenizer.decode([token])
        if len(text) < 2 or rng.random() >= share:
            return [token]
        at = rng.randrange(1, len(text))
        halves = self._ids(text[:at]) + self._ids(text[at:])
        return [piece for half in halves for piece in self._cut(half, share / 2, rng)]


class SoftReader(SpeechLLM):
    """A text LLM whose transcripts are blurred and noisy while it trains; evaluated, it is the LLM itself."""

    def __init__(self, llm):
        super().__init__(llm, adapter=None)
        with torch.no_grad():
            self.rms = llm.get_input_embeddings().weight.pow(2).mean().sqrt().item()

    def embeddings(self, batch: Batch, speech: Tensor | None = None) -> Tensor:
        embedded = super().embeddings(batch, speech)  # (B, N, E)
        if not self.training:
            return embedded
        where = batch.speech[..., None]  # (B, N, 1): the transcript's positions
        blur, noise = (torch.rand(len(embedded), 1, 1) * most for most in (BLUR, NOISE))
        scale = torch.exp(LOUDNESS * torch.randn(len(embedded), 1, 1))
        heard = embedded * where
        neighbours = heard.roll(1, dims=1) + heard.roll(-1, dims=1)
        soft = scale * (embedded + blur * neighbours + noise * self.rms * torch.randn_like(embedded))
        return torch.where(where, soft, embedded)
