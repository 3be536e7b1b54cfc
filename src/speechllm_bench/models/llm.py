"""The LLM: loaded from a folder or a hub name, frozen, with LoRA where a variant asks for it."""

from __future__ import annotations

from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from speechllm_bench.config import LoraConfig, Precision
from speechllm_bench.models.pretrained import load_pretrained, loaded


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """UserError where its files are missing or damaged."""
    tokenizer = loaded(AutoTokenizer.from_pretrained, name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # masked wherever it pads; Llama's tokenizer has none
    return tokenizer


def load_llm(name: str, lora: LoraConfig | None = None, precision: Precision = "fp32") -> PreTrainedModel:
    """The frozen text LLM in `precision`, with LoRA, always in fp32, where `lora` is given."""
    return with_lora(load_pretrained(AutoModelForCausalLM, name, precision), lora)


def with_lora(llm: PreTrainedModel, lora: LoraConfig | None) -> PreTrainedModel:
    """The LLM frozen; with `lora`, adapters on all of its linear layers (2510.15851, section 3.1), or on its
    queries, keys and values alone (2509.04473, method)."""
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
