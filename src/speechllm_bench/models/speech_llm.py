"""The composite SpeechLLM: encoder frames through an adapter into the embeddings of a text LLM.

Axes: B examples, N positions, L speech tokens of one example, E LLM embedding width, V vocabulary.
Without an adapter and frames it is the text LLM itself, and with a projector for an adapter the audio LLM
that both come from (`audio_llm.py`): the same loss and the same decoding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from speechllm_bench.models.adapters import Adapter
from speechllm_bench.models.inputs import Batch


class SpeechLLM(nn.Module):
    def __init__(self, llm: PreTrainedModel, adapter: Adapter | None):
        super().__init__()
        self.llm = llm
        self.adapter = adapter
        self.recomputes = False  # activations, for the gradients

    @property
    def speech_tokens(self) -> Callable[[int], int] | None:
        """How many speech tokens the adapter makes of a number of frames; None for a text LLM."""
        return self.adapter.out_length if self.adapter else None

    def speech(self, batch: Batch) -> Tensor:
        """(B, L, E): the adapter's output."""
        return self.adapter(batch.frames, batch.n_frames)

    def embeddings(self, batch: Batch, speech: Tensor | None = None) -> Tensor:
        """(B, N, E): token embeddings, with the adapter's output in the places of speech.

        `speech` is that output where it is already there.
        """
        embedded = self.llm.get_input_embeddings()(batch.tokens)
        if batch.frames is None:
            return embedded
        speech = self.speech(batch) if speech is None else speech  # (B, L, E)
        lengths = self.adapter.out_length(batch.n_frames)  # (B,)
        valid = torch.arange(speech.shape[1], device=speech.device) < lengths[:, None]  # (B, L)
        return embedded.masked_scatter(batch.speech[..., None], speech[valid].to(embedded.dtype))

    def loss(self, batch: Batch, speech: Tensor | None = None) -> Tensor:
        """Nats per target token over the batch. `speech` as in `embeddings`."""
        return cross_entropy(self.answer_logits(batch, speech), batch)

    def answer_logits(self, batch: Batch, speech: Tensor | None = None) -> Tensor:
        """(targets, V): of the answers' tokens, example after example, and of no other position.

        `speech` as in `embeddings`.
        """
        base = self.llm.get_base_model() if hasattr(self.llm, "get_base_model") else self.llm
        hidden = base.model(
            inputs_embeds=self.embeddings(batch, speech),
            attention_mask=batch.attended.long(),
            use_cache=False,
        ).last_hidden_state  # (B, N, E)
        # Position i predicts token i + 1: (B, N - 1, E) -> (targets, E) -> (targets, V).
        return base.lm_head(hidden[:, :-1][batch.answer[:, 1:]])

    @torch.inference_mode()
    def generate(
        self,
        batch: Batch,
        max_new_tokens: int,
        eos_token_id: int | list[int],
        pad_token_id: int,
        beams: int = 1,
    ) -> Tensor:
        """(B, new tokens) with a KV cache, greedy or by beam search; `pad_token_id` after each end.

        A row ends at the first of `eos_token_id`. What else a folder's generation settings ask for is dropped
        where the LLM is loaded (`llm.plain_decoding`).
        """
        return self.llm.generate(
            inputs_embeds=self.embeddings(batch),
            attention_mask=batch.attended.long(),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=beams,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
        )

    def recompute_activations(self) -> bool:
        """Compute the LLM's activations again for the gradients from now on, in place of keeping them.

        The same gradients in much less memory and, of a large LLM, more time (benchmarks/paper_scale.md).
        Returns False where it does so already.
        """
        if self.recomputes:
            return False
        self.recomputes = True
        name = "activation_checkpointing_enable"  # transformers' newer name for it
        enable = getattr(self.llm, name, None) or self.llm.gradient_checkpointing_enable
        enable({"use_reentrant": False})
        return True

    def trained_parameters(self, parts: list[str]) -> dict[str, nn.Parameter]:
        """The parameters that learn, by name: of the adapter, of LoRA, or both. All others stay frozen."""
        if "lora" in parts and not any("lora_" in name for name, _ in self.llm.named_parameters()):
            raise ValueError("this model has no LoRA to train")
        chosen = {}
        for name, parameter in self.named_parameters():
            part = "adapter" if name.startswith("adapter.") else "lora" if "lora_" in name else "llm"
            parameter.requires_grad_(part in parts)
            if part in parts:
                chosen[name] = parameter
        return chosen


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Nats per target token of the batch, of its `answer_logits` (targets, V)."""
    return nn.functional.cross_entropy(logits.float(), batch.tokens[:, 1:][batch.answer[:, 1:]])
