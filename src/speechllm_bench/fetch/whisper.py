"""Converts a CTranslate2 Whisper to a transformers folder, with the same values under transformers' names.

CTranslate2 stacks query, key and value of self-attention, and key and value of cross-attention, along the
first axis. Whisper's key projection has no bias, so CTranslate2 stores zeros for it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from speechllm_bench.fetch.ctranslate2 import read_variables
from speechllm_bench.fetch.weights import write_json, write_safetensors
from speechllm_bench.storage import runs

Variables = dict[str, np.ndarray]


def convert(model: Path, settings: Path, tokenizer: Path, folder: Path) -> None:
    """Write `model.bin`, CTranslate2's `config.json` and `tokenizer.json` as a transformers folder."""
    variables, told = read_variables(model), runs.read_json(settings)
    ids = {token["content"]: token["id"] for token in runs.read_json(tokenizer)["added_tokens"]}
    write_safetensors(folder / "model.safetensors", tensors(variables))
    write_json(folder / "config.json", whisper_config(variables, told, ids))
    write_json(folder / "generation_config.json", generation_config(variables, told, ids))
    write_json(folder / "preprocessor_config.json", preprocessor_config(variables))
    write_json(folder / "tokenizer_config.json", tokenizer_config(ids))
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())


def tensors(variables: Variables) -> Variables:
    """Return the weights by transformers' names. The output layer is the token embedding, stored once."""
    out: Variables = {}

    def put(target: str, source: str, weight: str = "weight", bias: str = "bias") -> None:
        out[f"{target}.weight"] = variables[f"{source}/{weight}"]
        out[f"{target}.bias"] = variables[f"{source}/{bias}"]

    def split(target: str, names: list[str], source: str) -> None:
        weights, biases = (np.split(variables[f"{source}/{part}"], len(names)) for part in ("weight", "bias"))
        for name, weight, bias in zip(names, weights, biases):
            out[f"{target}.{name}.weight"] = weight
            if name != "k_proj":
                out[f"{target}.{name}.bias"] = bias

    def norm(target: str, source: str) -> None:
        put(target, source, "gamma", "beta")

    for side in ("encoder", "decoder"):
        for i in range(n_layers(variables, side)):
            to, of = f"model.{side}.layers.{i}", f"{side}/layer_{i}"
            norm(f"{to}.self_attn_layer_norm", f"{of}/self_attention/layer_norm")
            split(f"{to}.self_attn", ["q_proj", "k_proj", "v_proj"], f"{of}/self_attention/linear_0")
            put(f"{to}.self_attn.out_proj", f"{of}/self_attention/linear_1")
            if side == "decoder":
                norm(f"{to}.encoder_attn_layer_norm", f"{of}/attention/layer_norm")
                put(f"{to}.encoder_attn.q_proj", f"{of}/attention/linear_0")
                split(f"{to}.encoder_attn", ["k_proj", "v_proj"], f"{of}/attention/linear_1")
                put(f"{to}.encoder_attn.out_proj", f"{of}/attention/linear_2")
            norm(f"{to}.final_layer_norm", f"{of}/ffn/layer_norm")
            put(f"{to}.fc1", f"{of}/ffn/linear_0")
            put(f"{to}.fc2", f"{of}/ffn/linear_1")
        norm(f"model.{side}.layer_norm", f"{side}/layer_norm")
        out[f"model.{side}.embed_positions.weight"] = variables[f"{side}/position_encodings/encodings"]
    put("model.encoder.conv1", "encoder/conv1")
    put("model.encoder.conv2", "encoder/conv2")
    out["model.decoder.embed_tokens.weight"] = variables["decoder/embeddings/weight"]
    return out


def n_layers(variables: Variables, side: str) -> int:
    prefix = f"{side}/layer_"
    return len({name.split("/")[1] for name in variables if name.startswith(prefix)} - {"layer_norm"})


def whisper_config(variables: Variables, told: dict, ids: dict[str, int]) -> dict:
    """Return transformers' `config.json`, with sizes from the weights and token ids from the tokenizer."""
    tokens, width = variables["decoder/embeddings/weight"].shape
    text_end = ids["<|endoftext|>"]
    sides = {}
    for side in ("encoder", "decoder"):
        sides[f"{side}_layers"] = n_layers(variables, side)
        sides[f"{side}_attention_heads"] = int(variables[f"{side}/num_heads"])
        sides[f"{side}_ffn_dim"] = len(variables[f"{side}/layer_0/ffn/linear_0/bias"])
    return {
        "activation_dropout": 0.0,
        "activation_function": "gelu",
        "architectures": ["WhisperForConditionalGeneration"],
        "attention_dropout": 0.0,
        "begin_suppress_tokens": told["suppress_ids_begin"],
        "bos_token_id": text_end,
        "d_model": width,
        "decoder_start_token_id": ids["<|startoftranscript|>"],
        "dropout": 0.0,
        "dtype": variables["decoder/embeddings/weight"].dtype.name,
        "eos_token_id": text_end,
        "is_encoder_decoder": True,
        "max_source_positions": len(variables["encoder/position_encodings/encodings"]),
        "max_target_positions": len(variables["decoder/position_encodings/encodings"]),
        "model_type": "whisper",
        "num_mel_bins": variables["encoder/conv1/weight"].shape[1],
        "pad_token_id": text_end,
        "scale_embedding": bool(variables["decoder/scale_embeddings"]),
        "suppress_tokens": told["suppress_ids"],
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": tokens,
        **sides,
    }


def generation_config(variables: Variables, told: dict, ids: dict[str, int]) -> dict:
    """Return `generation_config.json`: languages, tasks and suppressed tokens, as in OpenAI's release."""
    languages = {f"<|{name}|>": i for name, i in _languages(told, ids).items()}
    return {
        "alignment_heads": told["alignment_heads"],
        "begin_suppress_tokens": told["suppress_ids_begin"],
        "bos_token_id": ids["<|endoftext|>"],
        "decoder_start_token_id": ids["<|startoftranscript|>"],
        "eos_token_id": ids["<|endoftext|>"],
        "is_multilingual": bool(languages),
        "lang_to_id": languages,
        "max_initial_timestamp_index": 50,  # 1 s, in Whisper's timestamp steps of 0.02 s
        "max_length": len(variables["decoder/position_encodings/encodings"]),
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "return_timestamps": False,
        "suppress_tokens": told["suppress_ids"],
        "task_to_id": {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")},
    }


def preprocessor_config(variables: Variables) -> dict:
    """Return `preprocessor_config.json`, Whisper's log-mel front end.

    It has 16 kHz, windows of 400 samples, a hop of 160 samples, and chunks of 30 s.
    """
    return {
        "chunk_length": 30,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": variables["encoder/conv1/weight"].shape[1],
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": 480000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "sampling_rate": 16000,
    }


def tokenizer_config(ids: dict[str, int]) -> dict:
    """Return `tokenizer_config.json`. transformers treats tokens after the last special one as timestamps."""
    return {
        "add_prefix_space": False,
        "additional_special_tokens": sorted(ids, key=ids.__getitem__),
        "bos_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "errors": "replace",
        "model_max_length": 1024,
        "pad_token": "<|endoftext|>",
        "processor_class": "WhisperProcessor",
        "tokenizer_class": "WhisperTokenizer",
        "unk_token": "<|endoftext|>",
    }


def _languages(told: dict, ids: dict[str, int]) -> dict[str, int]:
    """Return the token id of each language code, such as `en`, that CTranslate2 lists."""
    names = {i: name.strip("<|>") for name, i in ids.items()}
    return {names[i]: i for i in told["lang_ids"]}
