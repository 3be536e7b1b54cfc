"""One step of a Llama's decoding, by the operations of transformers alone.

transformers spends more time between its operations than in them where a step has few rows and the LLM is
small. The operations here are the same, on the same numbers in the same order, so logits equal those of
transformers 5.23 bit for bit. Releases that repeat the keys of grouped heads may round differently.
Axes: R rows, N positions so far, E embedding width, H heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache, LlamaForCausalLM, LlamaModel, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
)

WIDEST = 256
"""Heads above this width: transformers chooses another form of attention, by the kind of device."""


class LlamaStep:
    """The LLM's layers with their keys and values, which have room for `steps` more positions.

    The keys and values are taken out of `cache`, layer by layer, so that they are not in memory twice.
    """

    def __init__(self, llm: LlamaForCausalLM, cache: Cache, steps: int):
        self.llm = llm
        self.n = cache.layers[0].keys.shape[2]  # positions so far
        self.kept = []
        while cache.layers:
            layer = cache.layers.pop(0)
            self.kept.append([functional.pad(part, (0, 0, 0, steps)) for part in (layer.keys, layer.values)])
        self.weights = [[_weight(one) for one in _linear(layer)] for layer in llm.model.layers]

    def select(self, rows: Tensor) -> None:
        """Keep the rows with these indices alone."""
        for i, parts in enumerate(self.kept):
            self.kept[i] = [part[rows] for part in parts]

    def __call__(self, tokens: Tensor, places: Tensor, attended: Tensor) -> Tensor:
        """Return logits (R, V). tokens: (R,). places: (R, 1). attended: (R, N), 0 at padding."""
        model, n_rows = self.llm.model, len(tokens)
        x = functional.embedding(tokens, model.embed_tokens.weight)  # (R, E)
        cos, sin = (part[:, None] for part in model.rotary_emb(x, position_ids=places))  # (R, 1, 1, D)
        width = cos.shape[-1]
        sin = torch.cat([-sin[..., : width // 2], sin[..., width // 2 :]], -1)
        mask = None
        if not attended.all():
            mask = torch.zeros_like(attended, dtype=x.dtype).masked_fill_(attended == 0, -torch.inf)
            mask = mask[:, None, None]  # (R, 1, 1, N)
        for i, (layer, weights) in enumerate(zip(model.layers, self.weights, strict=True)):
            query, key, value, out, gate, up, down = weights
            h = _normed(layer.input_layernorm, x)
            q, k, v = (functional.linear(h, w).view(n_rows, -1, 1, width) for w in (query, key, value))
            both = torch.cat([q, k], 1)  # (R, heads of q and k, 1, D)
            both = both * cos + both.roll(width // 2, -1) * sin
            n_heads, n_keys = q.shape[1], k.shape[1]
            keys, values = (part[:, :, : self.n + 1] for part in self.kept[i])
            keys[:, :, self.n :] = both[:, n_heads:]
            values[:, :, self.n :] = v
            q, grouped = both[:, :n_heads], n_keys != n_heads
            if grouped and mask is not None:
                q, grouped = q.reshape(n_rows, n_keys, -1, width), False
            attention = functional.scaled_dot_product_attention(
                q, keys, values, mask, scale=layer.self_attn.scaling, enable_gqa=grouped
            )
            x = x + functional.linear(attention.reshape(n_rows, -1), out)
            h = _normed(layer.post_attention_layernorm, x)
            h = layer.mlp.act_fn(functional.linear(h, gate)) * functional.linear(h, up)
            x = x + functional.linear(h, down)
        self.n += 1
        return functional.linear(_normed(model.norm, x), self.llm.lm_head.weight)


def step_of(llm: PreTrainedModel, cache: Cache, steps: int) -> LlamaStep | None:
    """Return the step that follows what is in `cache`, for `steps` steps. It takes over the cache.

    None, and the cache is left as it is, for an LLM whose step may have other operations.
    """
    base = llm.get_base_model() if isinstance(llm, PeftModel) else llm
    if type(base) is not LlamaForCausalLM or base.config._attn_implementation != "sdpa":
        return None
    if isinstance(llm, PeftModel) and any(one.is_prompt_learning for one in llm.peft_config.values()):
        return None
    if any(map(_altered, llm.modules())) or not all(_usual(base)):
        return None
    # A layer of another kind, such as one for a sliding window, forgets positions.
    if [type(layer) for layer in cache.layers] != [DynamicLayer] * len(base.model.layers):
        return None
    return LlamaStep(base, cache, steps)


def _altered(part: nn.Module) -> bool:
    """Return whether calling a module does more, or other, than its class does in evaluation."""
    hooked = part._forward_hooks or part._forward_pre_hooks
    return bool(part.training or hooked or part._compiled_call_impl or "forward" in vars(part))


def _usual(llm: LlamaForCausalLM) -> Iterator[bool]:
    """Yield whether each part of an LLM is of the class and the kind that `LlamaStep` computes."""
    model = llm.model
    yield type(model) is LlamaModel and _weight(llm.lm_head) is not None
    yield type(model.embed_tokens) is nn.Embedding and model.embed_tokens.max_norm is None
    yield model.embed_tokens.weight.dtype == torch.float32
    yield type(model.rotary_emb) is LlamaRotaryEmbedding
    yield model.rotary_emb.rope_type in ("default", "linear", "llama3")  # others depend on the length
    yield _is_norm(model.norm)
    for layer in model.layers:
        yield type(layer) is LlamaDecoderLayer and type(layer.mlp) is LlamaMLP
        yield type(layer.self_attn) is LlamaAttention
        # Products may round by where their rows lie in memory; a multiple of 4 keeps steps of 16 bytes.
        yield layer.self_attn.head_dim <= WIDEST and layer.self_attn.head_dim % 4 == 0
        yield _is_norm(layer.input_layernorm) and _is_norm(layer.post_attention_layernorm)
        yield all(_weight(one) is not None for one in _linear(layer))


def _is_norm(part: nn.Module) -> bool:
    return type(part) is LlamaRMSNorm and part.weight.dtype == torch.float32


def _linear(layer: LlamaDecoderLayer) -> list[nn.Module]:
    """Return the linear parts of a layer, in the order of `LlamaStep.weights`."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    return [*projections, mlp.gate_proj, mlp.up_proj, mlp.down_proj]


def _weight(part: nn.Module) -> Tensor | None:
    """Return the weight of a linear layer, with LoRA merged into it. None for any other layer."""
    if isinstance(part, LoraLayer):
        part = part.get_base_layer() if part.merged else nn.Identity()
    if type(part) is not nn.Linear or part.bias is not None or part.weight.dtype != torch.float32:
        return None
    return part.weight if type(part.weight) is nn.Parameter else None  # quantised weights claim to be fp32


def _normed(norm: LlamaRMSNorm, x: Tensor) -> Tensor:
    """Return `norm(x)`, which in fp32 converts nothing."""
    return norm.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon))
