"""Converts a GGUF of the class `llama` to a transformers folder with fp32 weights. No value is rounded.

The formats differ in two ways. GGUF interleaves the two halves of a rotary embedding (llama.cpp's
`convert_hf_to_gguf.py`, `LlamaModel.permute`), so the rows of query and key are put back in order. GGUF has
no output layer if it is tied to the token embedding.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from speechllm_bench.fetch.gguf import read_gguf
from speechllm_bench.fetch.weights import write_json, write_safetensors

Tensors = dict[str, np.ndarray]

WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CONTROL = 3  # the type of a special token in `tokenizer.ggml.token_type`


def convert(model: Path, folder: Path) -> None:
    """Write the weights, the configuration, the tokenizer and the chat template of a GGUF into `folder`."""
    metadata, stored = read_gguf(model)
    write_safetensors(folder / "model.safetensors", tensors(metadata, stored))
    write_json(folder / "config.json", llama_config(metadata, stored))
    write_json(folder / "generation_config.json", _special(metadata))
    write_json(folder / "tokenizer.json", tokenizer(metadata))
    write_json(folder / "tokenizer_config.json", tokenizer_config(metadata))
    template = metadata["tokenizer.chat_template"]
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8", newline="\n")


def tensors(metadata: dict, stored: Tensors) -> Tensors:
    """Return the weights by transformers' names."""
    heads = {"attn_q": metadata["llama.attention.head_count"], "attn_k": _kv_heads(metadata)}
    out: Tensors = {}
    for name, tensor in stored.items():
        *layer, part, _ = name.split(".")
        target = f"model.layers.{layer[1]}.{LAYER[part]}" if layer else WHOLE[part]
        out[f"{target}.weight"] = halves(tensor, heads[part]) if part in heads else tensor
    return out


def halves(rows: np.ndarray, n_heads: int) -> np.ndarray:
    """Return rows (heads x D, in) with each head's rotary halves in sequence, from interleaved ones."""
    n_out, n_in = rows.shape
    return rows.reshape(n_heads, n_out // n_heads // 2, 2, n_in).swapaxes(1, 2).reshape(n_out, n_in)


def _kv_heads(metadata: dict) -> int:
    return metadata.get("llama.attention.head_count_kv", metadata["llama.attention.head_count"])


def _special(metadata: dict) -> dict[str, int]:
    """Return the ids of the begin, end and padding tokens."""
    key = "tokenizer.ggml.{}_token_id"
    named = {"bos": "bos", "eos": "eos", "pad": "padding"}
    return {f"{name}_token_id": metadata[key.format(stored)] for name, stored in named.items()}


def llama_config(metadata: dict, stored: Tensors) -> dict:
    heads = metadata["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "dtype": "float32",
        "head_dim": metadata["llama.embedding_length"] // heads,
        "hidden_act": "silu",
        "hidden_size": metadata["llama.embedding_length"],
        "intermediate_size": metadata["llama.feed_forward_length"],
        "max_position_embeddings": metadata["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": metadata["llama.block_count"],
        "num_key_value_heads": _kv_heads(metadata),
        "rms_norm_eps": metadata["llama.attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_theta": metadata["llama.rope.freq_base"], "rope_type": "default"},
        "tie_word_embeddings": "output.weight" not in stored,
        "use_cache": True,
        "vocab_size": stored["token_embd.weight"].shape[0],
        **_special(metadata),
    }


def tokenizer(metadata: dict) -> dict:
    """Return SmolLM's `tokenizer.json`: a byte-level BPE with single digits ("smollm" in llama.cpp)."""
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    look = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": token, **look}
            for i, (token, kind) in enumerate(zip(tokens, kinds))
            if kind == CONTROL
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, level],
        },
        "post_processor": None,
        "decoder": {**level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in metadata["tokenizer.ggml.merges"]],
        },
    }


def tokenizer_config(metadata: dict) -> dict:
    """Return the content of `tokenizer_config.json`.

    Its class uses `tokenizer.json` unchanged; transformers' GPT-2 class would not split digits.
    """
    tokens, special = metadata["tokenizer.ggml.tokens"], _special(metadata)
    return {
        "bos_token": tokens[special["bos_token_id"]],
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens[special["eos_token_id"]],
        "model_max_length": metadata["llama.context_length"],
        "pad_token": tokens[special["pad_token_id"]],
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": tokens[metadata["tokenizer.ggml.unknown_token_id"]],
    }
