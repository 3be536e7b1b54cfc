"""Tiny models with random weights under the names of the real ones: their classes, the special tokens and
generation settings of each, chat templates and OpenAI's Whisper vocabulary; sizes alone are not theirs.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from chats import CHATS, Chat
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    WhisperConfig,
    WhisperForConditionalGeneration,
)
from whisper.tokenizer import get_tokenizer

WIDTH = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LAYERS = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
UNTIED = (
    "Llama-3.1",
    "R1-Distill",
    "TinyLlama",
    "Qwen3-8B",
    "Phi-3",
)  # of their names: the LLM has a head of its own
SPECIAL = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")  # of Qwen2-Audio


def whisper_tokenizer(many: bool) -> PreTrainedTokenizerFast:
    """Every id of OpenAI's tokenizer: its special tokens, bytes, and a word `wN` for each of the others."""
    known = get_tokenizer(multilingual=many)
    special = known.encoding._special_tokens
    taken = set(special.values())
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {f"w{i}": i for i in range(known.encoding.n_vocab) if i not in taken}
    words = {c: i for i, c in enumerate(letters)} | dict(list(words.items())[len(letters) :])
    made = Tokenizer(models.BPE(vocab=words | special, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([token for token in special if not token[2].isdigit()])  # but no timestamps
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=end, eos_token=end, bos_token=end)


def write_whisper(folder: Path) -> None:
    """A multilingual Whisper, as openai/whisper-base and -small are."""
    torch.manual_seed(0)
    made = whisper_tokenizer(many=True)
    known, end = made.get_vocab(), made.eos_token_id
    ids = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end}
    ids["decoder_start_token_id"] = known["<|startoftranscript|>"]
    config = WhisperConfig(
        vocab_size=len(known), d_model=16, max_target_positions=24, suppress_tokens=None,
        begin_suppress_tokens=None, init_std=1.0, **ids, **LAYERS, **HEADS,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        **ids, suppress_tokens=[1, 2, 7], begin_suppress_tokens=[220, end], is_multilingual=True,
        no_timestamps_token_id=known["<|notimestamps|>"], lang_to_id={"<|en|>": known["<|en|>"]},
        task_to_id={"transcribe": known["<|transcribe|>"], "translate": known["<|translate|>"]},
    )  # fmt: skip
    model.save_pretrained(folder)
    made.save_pretrained(folder)


def write_llm(name: str, folder: Path) -> None:
    """A text LLM of the class that has the name."""
    torch.manual_seed(0)
    chat, sizes = CHATS[name], WIDTH | {"max_position_embeddings": 2048, "initializer_range": 0.5}
    made = chat.tokenizer()
    sizes |= {"vocab_size": len(made), "tie_word_embeddings": not any(part in name for part in UNTIED)}
    sizes |= {"bos_token_id": made.bos_token_id, "eos_token_id": made.eos_token_id, "num_key_value_heads": 1}
    pad = {"pad_token_id": made.pad_token_id}
    if "Qwen3" in name:
        model = Qwen3ForCausalLM(Qwen3Config(head_dim=8, **sizes))
    elif "Qwen2.5" in name:
        model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    elif "gemma-2" in name:
        model = Gemma2ForCausalLM(Gemma2Config(head_dim=8, query_pre_attn_scalar=8, **sizes | pad))
    elif "Phi-3" in name:
        model = Phi3ForCausalLM(Phi3Config(**sizes | pad))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    _write(model, chat, made, folder)
    if "R1-Distill" in name:  # a byte-level tokenizer that is declared as Llama's
        _change(folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizerFast")


def write_audio_llm(name: str, folder: Path) -> None:
    """A Qwen2-Audio, whose tower has 128 bands and whose turn ends by another token than its eos."""
    torch.manual_seed(0)
    chat = CHATS[name]
    made = chat.tokenizer()
    made.add_tokens(list(SPECIAL), special_tokens=True)
    hearing = {"num_mel_bins": 128, "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2}
    reading = WIDTH | {"model_type": "qwen2", "vocab_size": len(made), "num_key_value_heads": 2}
    reading |= {"max_position_embeddings": 2048, "initializer_range": 0.5, "eos_token_id": made.eos_token_id}
    config = Qwen2AudioConfig(
        audio_config=hearing | {"model_type": "qwen2_audio_encoder", "encoder_ffn_dim": 32},
        text_config=reading,
        audio_token_index=made.convert_tokens_to_ids("<|AUDIO|>"),
    )
    _write(Qwen2AudioForConditionalGeneration(config), chat, made, folder)


def _write(model, chat: Chat, made: PreTrainedTokenizerFast, folder: Path) -> None:
    """In bf16, as the real ones are stored, with settings that no evaluation may obey."""
    stops = made.convert_tokens_to_ids(list(chat.stops)) or made.eos_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=stops, bos_token_id=made.bos_token_id, pad_token_id=made.eos_token_id
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    made.save_pretrained(folder)
    _change(folder / "generation_config.json", do_sample=True, temperature=0.6, repetition_penalty=1.3)


def _change(file: Path, **settings) -> None:
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | settings), "utf-8")
