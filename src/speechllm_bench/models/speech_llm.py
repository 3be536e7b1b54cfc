"""The composite SpeechLLM: an adapter maps encoder frames to embeddings of a text LLM.

Axes: B examples, N positions, L speech tokens of one example, E LLM embedding width, V vocabulary.
Without an adapter and frames it is the text LLM itself. With an audio LLM's projector as adapter it is that
audio LLM (`audio_llm.py`). Loss and decoding are the same for all three.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from speechllm_bench.errors import UserError
from speechllm_bench.models.adapters import Adapter
from speechllm_bench.models.greedy import decode_greedily
from speechllm_bench.models.inputs import Batch

SHORTEST_SHARED = 16
"""Least length of a common prompt prefix, in positions, that is computed only once for the batch."""
PROBED = 4
"""Number of tokens for which an LLM's own logits are compared with `answer_logits`."""
SAME = 0.02
"""Largest difference of the two, as a share of the largest logit. Rounding to bf16 makes up to 0.004."""


class SpeechLLM(nn.Module):
    """An LLM with an optional adapter. bf16: compute in bf16 autocast (`bf16.computes_in_bf16`)."""

    def __init__(self, llm: PreTrainedModel, adapter: Adapter | None, bf16: bool = False):
        super().__init__()
        self.llm = llm
        self.adapter = adapter
        self.bf16 = bf16
        self.recomputes = False  # whether activations are recomputed in the backward pass

    @property
    def _base(self) -> PreTrainedModel:
        """The text LLM without the wrapper that holds LoRA."""
        return self.llm.get_base_model() if hasattr(self.llm, "get_base_model") else self.llm

    @property
    def speech_tokens(self) -> Callable[[int], int] | None:
        """The function from a number of frames to the number of speech tokens; None for a text LLM."""
        return self.adapter.out_length if self.adapter else None

    def speech(self, batch: Batch) -> Tensor:
        assert self.adapter is not None
        return self.adapter(batch.frames, batch.n_frames)

    def embeddings(self, batch: Batch, speech: Tensor | None = None) -> Tensor:
        """Return token embeddings (B, N, E), with the adapter's output at the speech positions.

        speech: the adapter's output (B, L, E), if it has been computed already.
        """
        embedded = self.llm.get_input_embeddings()(batch.tokens)
        if batch.frames is None:
            return embedded
        assert self.adapter is not None
        speech = self.speech(batch) if speech is None else speech  # (B, L, E)
        lengths = self.adapter.out_length(batch.n_frames)  # (B,)
        valid = torch.arange(speech.shape[1], device=speech.device) < lengths[:, None]  # (B, L)
        return embedded.masked_scatter(batch.speech[..., None], speech[valid].to(embedded.dtype))

    @property
    def in_fp32(self) -> bool:
        """Whether everything is computed in fp32. In bf16 results depend much more on the batch size."""
        return not self.bf16 and all(part.dtype == torch.float32 for part in self.llm.parameters())

    def loss(self, batch: Batch, speech: Tensor | None = None) -> Tensor:
        """Return the loss in nats per target token of the batch. `speech` as in `embeddings`."""
        with self.arithmetic():
            return cross_entropy(self.answer_logits(batch, speech), batch)

    def arithmetic(self) -> torch.autocast:
        """Return the autocast context of the model: bf16 where `self.bf16` is set, else switched off."""
        return torch.autocast(self.llm.device.type, torch.bfloat16, enabled=self.bf16)

    def answer_logits(self, batch: Batch, speech: Tensor | None = None) -> Tensor:
        """Return logits (targets, V) of the answer tokens only, example after example.

        `speech` as in `embeddings`.
        """
        embedded, shared = self.embeddings(batch, speech), computed_once(batch)
        return self._logits(embedded, batch.attended.long(), batch.answer, shared)

    def _logits(self, embedded: Tensor, attended: Tensor, answer: Tensor, shared: int) -> Tensor:
        """Return logits (targets, V). answer: (B, N). shared: length of the prefix that is computed once."""
        base = self._base
        shared = 0 if self.recomputes else shared  # recomputation cannot use a KV cache
        before = None
        if shared:
            before = base.model(inputs_embeds=embedded[:1, :shared], use_cache=True).past_key_values
            before.batch_repeat_interleave(len(embedded))
        answered = nn.functional.pad(answer[:, shared + 1 :], (0, 1))  # (B, N - shared)
        last = None if self.recomputes else last_feed_forward(base)  # recomputation would lack the hooks
        with positions_alone(last, answered) if last else contextlib.nullcontext():
            hidden = base.model(
                inputs_embeds=embedded[:, shared:],
                attention_mask=attended,
                past_key_values=before,
                use_cache=before is not None,
            ).last_hidden_state  # (B, N - shared, E)
        # Position i predicts token i + 1: (B, N - shared, E) -> (targets, E) -> (targets, V).
        return _capped(base, _scaled(base, base.lm_head(hidden[answered])))

    @torch.no_grad()  # tensors that the LLM keeps from inference mode could not be used in training
    def refuse_other_logits(self, name: str) -> None:
        """Raise UserError where `answer_logits` differ from the LLM's own, so that its loss would be wrong.

        Two forward passes of `PROBED` tokens tell. name: the LLM's, for the sentence. LoRA is left out:
        untrained it changes nothing, and its dropout would draw random numbers.
        """
        base, told = self._base, "it lacks `model` or `lm_head`"
        if hasattr(base, "model") and hasattr(base, "lm_head"):
            tokens = torch.arange(PROBED, device=self.llm.device)[None] % base.config.vocab_size  # (1, N)
            last = torch.arange(PROBED, device=tokens.device)[None] == PROBED - 1
            without = self.llm.disable_adapter() if base is not self.llm else contextlib.nullcontext()
            try:
                with self.arithmetic(), without:
                    theirs = base(input_ids=tokens, use_cache=False).logits[:, -2].float()  # (1, V)
                    embedded = self.llm.get_input_embeddings()(tokens)
                    mine = self._logits(embedded, torch.ones_like(tokens), last, 0).float()
                off = (mine - theirs).abs().max() > SAME * theirs.abs().max()
                told = "its logits are not those of its `lm_head`" if off else ""
            except (AttributeError, IndexError, TypeError, ValueError) as error:
                told = f"its layers have another form: {error}"
        if told:
            raise UserError(
                f"{name} is a {type(base).__name__}, which cannot be trained here ({told}); take another "
                "LLM, such as a Llama, Qwen, Gemma or Phi"
            )

    @torch.inference_mode()
    def generate(
        self,
        batch: Batch,
        max_new_tokens: int,
        eos_token_id: int | list[int],
        pad_token_id: int,
        beams: int = 1,
    ) -> Tensor:
        """Generate (B, new tokens) with a KV cache, greedily or by beam search.

        A row ends at the first of `eos_token_id` and is then filled with `pad_token_id`. Other generation
        settings of a folder were dropped when the LLM was loaded (`llm.plain_decoding`).
        """
        with self.arithmetic():
            if beams == 1 and self.in_fp32:
                ends = [eos_token_id] if isinstance(eos_token_id, int) else eos_token_id
                embedded, attended = self.embeddings(batch), batch.attended.long()
                limits = (max_new_tokens, ends, pad_token_id, computed_once(batch))
                return decode_greedily(self.llm, embedded, attended, *limits)
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
        """Switch on activation recomputation (gradient checkpointing) in the LLM.

        The gradients are the same. It needs much less memory and, with a large LLM, more time
        (benchmarks/paper_scale.md). Returns False where it is on already.
        """
        if self.recomputes:
            return False
        self.recomputes = True
        name = "activation_checkpointing_enable"  # transformers' newer name for it
        enable = getattr(self.llm, name, None) or self.llm.gradient_checkpointing_enable
        enable({"use_reentrant": False})
        return True

    def trained_parameters(self, parts: Sequence[str]) -> dict[str, nn.Parameter]:
        """Make `parts` ("adapter", "lora") trainable, freeze all else, and return what is trainable."""
        chosen = {}
        for name, parameter in self.named_parameters():
            part = "adapter" if name.startswith("adapter.") else "lora" if "lora_" in name else "llm"
            parameter.requires_grad_(part in parts)
            if part in parts:
                chosen[name] = parameter
        return chosen


def _scaled(llm: PreTrainedModel, logits: Tensor) -> Tensor:
    """Apply the LLM's own scale to the logits, where it has one (Granite, Cohere, Falcon-H1)."""
    if divisor := getattr(llm.config, "logits_scaling", None):
        return logits / divisor
    scale = getattr(llm.config, "logit_scale", None) or getattr(llm.config, "lm_head_multiplier", None)
    return logits * scale if scale else logits


def _capped(llm: PreTrainedModel, logits: Tensor) -> Tensor:
    """Apply the LLM's own soft cap to the logits, where it has one (Gemma 2)."""
    bound = getattr(llm.config, "final_logit_softcapping", None)
    return logits if bound is None else bound * torch.tanh(logits / bound)


def last_feed_forward(llm: PreTrainedModel) -> nn.Module | None:
    """Return the last layer's feed-forward module.

    Returns None if it has dropout, which would draw other random numbers for fewer positions.
    """
    layer = getattr(llm.model.layers[-1], "mlp", None)
    drops = layer and any(isinstance(part, nn.Dropout) and part.p > 0 for part in layer.modules())
    return None if drops else layer


@contextlib.contextmanager
def positions_alone(layer: nn.Module, wanted: Tensor) -> Iterator[None]:
    """Make `layer` compute only the positions `wanted` (B, N) within the block.

    `layer` must treat positions independently. All other positions of its output (B, N, E) are 0. This makes
    the last feed-forward layer of an LLM, whose output only the logits use, cost a sixth.
    """

    def chosen(_, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0][wanted],)

    def put_back(_, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output.new_zeros(*wanted.shape, output.shape[-1]).masked_scatter(wanted[..., None], output)

    hooks = [layer.register_forward_pre_hook(chosen), layer.register_forward_hook(put_back)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def shared_positions(batch: Batch) -> int:
    """Return the length of the common token prefix of all examples, which ends before speech and answer.

    It is 0 for a batch of one example.
    """
    alike = (batch.tokens == batch.tokens[:1]) & batch.attended & ~batch.speech & ~batch.answer  # (B, N)
    return int(alike.all(0).long().cumprod(0).sum()) if len(batch.tokens) > 1 else 0


def computed_once(batch: Batch) -> int:
    """Return `shared_positions`, or 0 where computing them once saves too little (`SHORTEST_SHARED`)."""
    shared = shared_positions(batch)
    return shared if shared >= SHORTEST_SHARED else 0


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Return the loss in nats per target token. logits: the batch's `answer_logits` (targets, V)."""
    return nn.functional.cross_entropy(logits.float(), batch.tokens[:, 1:][batch.answer[:, 1:]])
