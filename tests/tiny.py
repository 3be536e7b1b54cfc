"""Backbones small enough to train on in a test: random weights in the real architectures."""

from __future__ import annotations

from pathlib import Path

LINES = (
    "caller: i was charged nineteen fifty at the café",
    'fill in as json: city, first name {"city": "paris"}',
)


def write_backbones(folder: Path) -> None:
    """Folders `whisper`, `llm` and `audio_llm` in `folder`, stored in fp16 as the zoo's are."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        WhisperConfig,
        WhisperForConditionalGeneration,
    )

    from speechllm_bench.zoo import audio_llm_mini, llm_mini

    torch.manual_seed(0)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 1}
    attention = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    whisper = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=8, d_model=16, max_target_positions=8, suppress_tokens=None,
            begin_suppress_tokens=None, **ids, **attention, **layers
        )
    )  # fmt: skip
    whisper.half().save_pretrained(folder / "whisper")

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = [llm_mini.PAD, llm_mini.END, llm_mini.USER, llm_mini.ASSISTANT]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(LINES, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=llm_mini.PAD,
        eos_token=llm_mini.END,
        chat_template=llm_mini.CHAT_TEMPLATE,
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,  # far from uniform answers, so that differences show
    )  # fmt: skip
    LlamaForCausalLM(config).half().save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "whisper")  # its decoder says the first eight of these tokens

    processor = audio_llm_mini.processor(tokenizer, n_mels=80)  # adds tokens to the tokenizer
    hearing = {"num_mel_bins": 80, "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2}
    reading = {
        "model_type": "qwen2", "vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 1024, "initializer_range": 0.5, "pad_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    config = Qwen2AudioConfig(
        audio_config=hearing | {"model_type": "qwen2_audio_encoder", "encoder_ffn_dim": 32},
        text_config=reading,
        audio_token_index=processor.audio_token_id,
    )
    Qwen2AudioForConditionalGeneration(config).half().save_pretrained(folder / "audio_llm")
    processor.save_pretrained(folder / "audio_llm")
