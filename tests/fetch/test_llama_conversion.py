"""A GGUF of the class llama becomes a transformers folder that computes the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import GGUF_F32, GGUF_Q4_1, GGUF_Q8_0, quantise, write_gguf

from speechllm_bench.fetch import llama
from speechllm_bench.fetch.gguf import FORMATS, read_gguf

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
HEADS, KV_HEADS, WIDTH, DEPTH = 4, 2, 64, 2


@dataclass(frozen=True)
class TinyLlama:
    """Its GGUF, what that was written from, and the same weights in transformers."""

    file: Path
    metadata: dict
    tensors: dict[str, tuple[tuple, int, bytes]]
    model: object


def by_turns(rows: np.ndarray, n_heads: int) -> np.ndarray:
    """As `LlamaModel.permute` of llama.cpp's `convert_hf_to_gguf.py`."""
    shape = (n_heads, 2, rows.shape[0] // n_heads // 2, *rows.shape[1:])
    return rows.reshape(shape).swapaxes(1, 2).reshape(rows.shape)


def metadata() -> dict:
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL, *alphabet, "Ġa", "an", "12", "Ġan"]
    return {
        "general.architecture": "llama",
        "llama.block_count": DEPTH,
        "llama.context_length": 128,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.freq_base": 100000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-05,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)),
        "tokenizer.ggml.merges": ["Ġ a", "a n", "1 2", "Ġa n"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": TEMPLATE,
    }


def write_tiny_llama(file: Path, tied: bool) -> TinyLlama:
    """Random weights: the embedding in Q8_0, matrices in Q4_1, norms in F32, as SmolLM2's GGUF has them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    about = metadata()
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(about["tokenizer.ggml.tokens"]), hidden_size=WIDTH, intermediate_size=96,
        num_hidden_layers=DEPTH, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0}, tie_word_embeddings=tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    names = {f"model.layers.{{}}.{of}": f"blk.{{}}.{to}" for to, of in llama.LAYER.items()}
    whole = {of: to for to, of in llama.WHOLE.items()}
    tensors, state = {}, model.state_dict()
    for name, weight in model.named_parameters():
        torch.nn.init.normal_(weight, mean=1.0 if weight.ndim == 1 else 0.0, std=0.2)
        *_, layer = [part for part in name.split(".") if part.isdigit()] or [""]
        plain = name.removesuffix(".weight")
        stored = names[plain.replace(f".{layer}.", ".{}.")].format(layer) if layer else whole[plain]
        kind = GGUF_F32 if weight.ndim == 1 else GGUF_Q8_0 if "embed" in name else GGUF_Q4_1
        turned = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(stored.split(".")[-1])
        values = weight.detach().numpy()
        content, meant = quantise(by_turns(values, turned) if turned else values, kind)
        tensors[f"{stored}.weight"] = (values.shape, kind, content)
        # The reference gets what the blocks stand for, in transformers' order of rows.
        order = by_turns(np.arange(len(values))[:, None], turned)[:, 0] if turned else np.arange(len(values))
        back = np.empty_like(meant)
        back[order] = meant
        state[name].copy_(torch.from_numpy(back))
    write_gguf(file, about, tensors)
    return TinyLlama(file, about, tensors, model)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def tiny_llama(request, tmp_path_factory) -> TinyLlama:
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "model.gguf", request.param)


@pytest.fixture(scope="module")
def folder(tiny_llama, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    llama.convert(tiny_llama.file, folder)
    return folder


def test_the_logits_are_the_same_to_the_bit(tiny_llama, folder):
    from transformers import AutoModelForCausalLM

    model, told = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(told.values()), told
    tokens = torch.randint(0, 260, (2, 24), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        logits, expected = model.eval()(tokens).logits, tiny_llama.model(tokens).logits
    assert torch.equal(logits, expected)
    assert logits.std() > 0.1


def test_the_settings_come_from_the_metadata(tiny_llama, folder):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert (config["num_key_value_heads"], config["head_dim"], config["rms_norm_eps"]) == (2, 16, 1e-05)
    assert config["rope_parameters"] == {"rope_theta": 100000.0, "rope_type": "default"}
    assert config["tie_word_embeddings"] == tiny_llama.model.config.tie_word_embeddings
    assert not {"transformers_version", "quantization_config"} & set(config)
    generation = json.loads((folder / "generation_config.json").read_text("utf-8"))
    assert generation == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


def test_the_tokenizer_takes_each_digit_alone_and_gives_text_back(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("an an 1212") == ["an", "Ġan", "Ġ", "1", "2", "1", "2"]  # "12" is a token
    for text in ("Zürich 395961, isn't it?\n\n  “Да” 東京", "  two  spaces "):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "an"}], add_generation_prompt=True, tokenize=False
    )
    assert asked == "<|im_start|>an<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(asked).input_ids
    assert ids[:3] == [1, tokenizer.convert_tokens_to_ids("an"), 2]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "an\nassistant\n"
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)


def test_blocks_are_decoded_as_ggml_does():
    """By hand: scale 0.5; Q8_0 of 0, 1, -1, ...; Q4_1 with minimum -1 and nibbles 0 to 15."""
    half, minus_one = np.float16(0.5).tobytes(), np.float16(-1).tobytes()
    signed = np.frombuffer(half + bytes([0, 1, 255, 128, *[2] * 28]), np.uint8)[None]
    assert FORMATS[GGUF_Q8_0][2](signed)[0, :5].tolist() == [0.0, 0.5, -0.5, -64.0, 1.0]
    nibbles = np.frombuffer(half + minus_one + bytes([16 * (15 - i) + i for i in range(16)]), np.uint8)[None]
    expected = [0.5 * i - 1 for i in range(16)] + [0.5 * (15 - i) - 1 for i in range(16)]
    assert FORMATS[GGUF_Q4_1][2](nibbles)[0].tolist() == expected


@pytest.mark.parametrize("kind", [GGUF_Q4_1, GGUF_Q8_0])
def test_ggufs_own_package_reads_the_same(tmp_path, kind):
    gguf = pytest.importorskip("gguf", reason="the package gguf is missing: no other reader to compare with")
    values = np.random.default_rng(5).normal(size=(3, 64)).astype(np.float32)
    content = gguf.quantize(values, gguf.GGMLQuantizationType(kind))
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_rope_freq_base(1e5)
    writer.add_token_list(["a", "Ġb"])
    writer.add_tensor("token_embd.weight", content, raw_dtype=gguf.GGMLQuantizationType(kind))
    writer.add_tensor("output_norm.weight", values[0])
    for write in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file"):
        getattr(writer, write)()
    writer.close()
    about, tensors = read_gguf(tmp_path / "model.gguf")
    assert about["llama.rope.freq_base"] == 1e5 and about["tokenizer.ggml.tokens"] == ["a", "Ġb"]
    expected = gguf.dequantize(content, gguf.GGMLQuantizationType(kind))
    assert np.array_equal(tensors["token_embd.weight"], expected.reshape(3, 64))
    assert np.array_equal(tensors["output_norm.weight"], values[0])
