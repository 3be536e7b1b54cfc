"""The frozen text LLM, loaded from a folder or a hub name, with LoRA where a variant has it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from speechllm_bench.errors import UserError
from speechllm_bench.models.bf16 import computes_in_bf16, keep_linears_in_bf16
from speechllm_bench.models.devices import device
from speechllm_bench.models.pretrained import load_pretrained, loaded
from speechllm_bench.settings.config import LoraConfig, Precision

_KEPT = {
    *("bos_token_id", "eos_token_id", "pad_token_id"),
    *("output_attentions", "output_hidden_states", "use_cache", "transformers_version"),
}
"""Generation settings that a folder keeps. They change no answer, and the zoo's files stay unchanged."""


_PLAIN = "i would like a table for two"  # every embedded tokenizer knows these letters


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a folder or hub name, with a padding token.

    Raises UserError where its files are missing or damaged, and where it cannot decode what it encoded:
    transformers below 5.22 loses the spaces of byte-level tokenizers that are declared as Llama's
    (DeepSeek-R1-Distill-Llama).
    """
    tokenizer = loaded(AutoTokenizer.from_pretrained, name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # Llama's tokenizer has none; padding is always masked
    ids = tokenizer(_PLAIN, add_special_tokens=False)["input_ids"]
    if (back := tokenizer.decode(ids, skip_special_tokens=True).strip()) != _PLAIN:
        raise UserError(
            f"the tokenizer of {name} makes '{back}' of '{_PLAIN}'; install transformers 5.22 or later, or "
            "correct tokenizer_class in the folder's tokenizer_config.json"
        )
    return tokenizer


def load_llm(name: str, lora: LoraConfig | None = None, precision: Precision = "fp32") -> PreTrainedModel:
    """Return the frozen text LLM in `precision`. Where `lora` is given, it has LoRA, always in fp32."""
    llm = load_pretrained(AutoModelForCausalLM, name, precision)
    llm.generation_config = plain_decoding(llm.generation_config)
    if precision == "mixed" and computes_in_bf16(precision, device()):
        keep_linears_in_bf16(llm)
    return with_lora(llm, lora)


def plain_decoding(settings: GenerationConfig) -> GenerationConfig:
    """Return generation settings with a folder's token ids and the library's defaults for all else.

    Greedy means the likeliest token at each step. A folder may ask for sampling, repetition penalties, a
    minimum length and more, and `generate` would use these settings.
    """
    plain = copy.deepcopy(settings)
    for name, value in vars(GenerationConfig()).items():
        if name not in _KEPT and not name.startswith("_"):
            setattr(plain, name, value)
    return plain


def with_lora(llm: PreTrainedModel, lora: LoraConfig | None) -> PreTrainedModel:
    """Freeze the LLM and, with `lora`, add LoRA.

    LoRA is on all linear layers (2510.15851, section 3.1), or only on queries, keys and values (2509.04473,
    method).
    """
    llm.requires_grad_(False)
    if lora is None:
        return llm
    peft_config = PeftLoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=["q_proj", "k_proj", "v_proj"] if lora.targets == "qkv" else "all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(llm, peft_config)


@contextlib.contextmanager
def merged_lora(llm: PreTrainedModel) -> Iterator[None]:
    """Merge LoRA into the base weights within the block, which saves its own matrix products.

    Afterwards the weights are bit-identical to those before. Nothing is merged unless all weights are fp32,
    because lower precision would round LoRA's update.
    """
    layers = [layer for layer in llm.modules() if isinstance(layer, LoraLayer)]
    plain = [(layer, layer.get_base_layer().weight.data) for layer in layers]
    if any(weight.dtype != torch.float32 for _, weight in plain):
        plain = []
    try:
        for layer, _ in plain:
            layer.merge(safe_merge=True)  # writes to a copy of the weights
        yield
    finally:
        for layer, weight in plain:
            layer.get_base_layer().weight.data = weight
            layer.merged_adapters.clear()
