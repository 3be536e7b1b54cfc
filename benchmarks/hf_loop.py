"""A typical training loop with transformers, with the same models, examples, loss and optimiser as the suite.

With tricks it uses trimmed audio, stored encoder frames and logits of answers only, as the suite does.
Without them it encodes audio padded to 30 s at each step, and computes logits at every position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase, WhisperModel

from speechllm_bench.models.chat import turn_end
from speechllm_bench.models.encoder import encode
from speechllm_bench.models.inputs import pad_frames, prompt_halves
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage.schema import Example

NO_LABEL = -100


def few_turns(config: RunConfig) -> RunConfig:
    """Return the config with a corpus of 40 turns a split. The benchmarks of ratios use no more."""
    sizes = dict.fromkeys(config.corpus.sizes, 40)
    return config.model_copy(update={"corpus": config.corpus.model_copy(update={"sizes": sizes})})


@dataclass
class PlainLoop:
    """The loop over one batch of examples. frames: stored encoder frames, (T_i, D)
    each. audio: their samples.
    """

    model: SpeechLLM
    encoder: WhisperModel
    tokenizer: PreTrainedTokenizerBase
    examples: Sequence[Example]
    audio: Sequence[np.ndarray]
    frames: Sequence[np.ndarray]

    def loss(self, tricks: bool) -> Tensor:
        """Return the loss in nats per token of the answers."""
        rows, labels = self._rows(tricks, with_answer=True)
        embedded = pad_sequence(rows, batch_first=True)
        wanted = pad_sequence(labels, batch_first=True, padding_value=NO_LABEL)
        attended = pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True).long()
        llm = self.model.llm
        if not tricks:
            return llm(inputs_embeds=embedded, attention_mask=attended, labels=wanted).loss
        hidden = llm.model(inputs_embeds=embedded, attention_mask=attended, use_cache=False).last_hidden_state
        answered = wanted[:, 1:] != NO_LABEL
        logits = llm.lm_head(hidden[:, :-1][answered])
        return nn.functional.cross_entropy(logits, wanted[:, 1:][answered])

    @torch.inference_mode()
    def answers(self, tricks: bool, end: int, max_new_tokens: int) -> Tensor:
        """Return greedy answers, (B, new tokens)."""
        rows, _ = self._rows(tricks, with_answer=False)
        kept = [torch.ones(len(row)) for row in rows]
        embedded = pad_sequence(rows, batch_first=True, padding_side="left")
        attended = pad_sequence(kept, batch_first=True, padding_side="left").long()
        return self.model.llm.generate(
            inputs_embeds=embedded, attention_mask=attended, max_new_tokens=max_new_tokens, do_sample=False,
            eos_token_id=end, pad_token_id=self.tokenizer.pad_token_id,
        )  # fmt: skip

    def _rows(self, tricks: bool, with_answer: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Return the embeddings (N_i, E) and labels (N_i,) of each example."""
        heard = self.frames
        if not tricks:
            encoded = dict(encode(self.encoder, self.audio, "30s"))
            heard = [encoded[i] for i in range(len(self.audio))]
        frames, n_frames = pad_frames(heard)
        speech, embed = self.model.adapter(frames, n_frames), self.model.llm.get_input_embeddings()
        rows, labels = [], []
        for example, spoken, n in zip(self.examples, speech, n_frames.tolist(), strict=True):
            before, after = (torch.tensor(ids) for ids in prompt_halves(self.tokenizer, example))
            answer = self.tokenizer(example.target, add_special_tokens=False)["input_ids"]
            answer = torch.tensor(
                [*answer, turn_end(self.tokenizer)] if with_answer else [], dtype=torch.long
            )
            spoken = spoken[: self.model.speech_tokens(n)]
            rows.append(torch.cat([embed(before), spoken, embed(after), embed(answer)]))
            unasked = torch.full((len(rows[-1]) - len(answer),), NO_LABEL)
            labels.append(torch.cat([unasked, answer]))
        return rows, labels
