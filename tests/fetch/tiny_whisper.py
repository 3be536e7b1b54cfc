"""A tiny Whisper, for tests: as CTranslate2 has it, and as transformers has it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from model_files import write_ctranslate2

WORDS = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
WORDS += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
FIRST_SPECIAL = 256
VOCABULARY = 280  # what follows the special tokens are timestamps


@dataclass(frozen=True)
class TinyWhisper:
    """Its three files, the variables of the first, and the same weights in transformers."""

    files: tuple[Path, Path, Path]
    variables: dict[str, np.ndarray]
    model: object


def ctranslate2_variables(state: dict[str, np.ndarray], layers: int, heads: int) -> dict[str, np.ndarray]:
    """transformers' weights by the names of CTranslate2, stacked as its converter stacks them."""
    out = {}

    def linear(name: str, *sources: str) -> None:
        weights = [state[f"{source}.weight"] for source in sources]
        biases = [state.get(f"{s}.bias", np.zeros(len(w), np.float16)) for s, w in zip(sources, weights)]
        out[f"{name}/weight"], out[f"{name}/bias"] = np.concatenate(weights), np.concatenate(biases)

    def norm(name: str, source: str) -> None:
        out[f"{name}/gamma"], out[f"{name}/beta"] = state[f"{source}.weight"], state[f"{source}.bias"]

    for side in ("encoder", "decoder"):
        for i in range(layers):
            to, of = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            own, cross = f"{of}.self_attn", f"{of}.encoder_attn"
            norm(f"{to}/self_attention/layer_norm", f"{own}_layer_norm")
            linear(f"{to}/self_attention/linear_0", *(f"{own}.{part}_proj" for part in "qkv"))
            linear(f"{to}/self_attention/linear_1", f"{own}.out_proj")
            if side == "decoder":
                norm(f"{to}/attention/layer_norm", f"{cross}_layer_norm")
                linear(f"{to}/attention/linear_0", f"{cross}.q_proj")
                linear(f"{to}/attention/linear_1", f"{cross}.k_proj", f"{cross}.v_proj")
                linear(f"{to}/attention/linear_2", f"{cross}.out_proj")
            norm(f"{to}/ffn/layer_norm", f"{of}.final_layer_norm")
            linear(f"{to}/ffn/linear_0", f"{of}.fc1")
            linear(f"{to}/ffn/linear_1", f"{of}.fc2")
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        out[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        out[f"{side}/num_heads"] = np.array(heads, np.int16)
    for conv in ("conv1", "conv2"):
        linear(f"encoder/{conv}", f"model.encoder.{conv}")
    out["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    out["decoder/scale_embeddings"] = np.array(0, np.int8)
    return out


def write_tokenizer(path: Path) -> None:
    """Byte-level, without merges: a token a byte, and Whisper's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(WORDS)
    bpe.save(str(path))


def write_tiny_whisper(folder: Path) -> TinyWhisper:
    """Two layers a side, random fp16 weights; no weight is the same as another."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(1)
    config = WhisperConfig(
        vocab_size=VOCABULARY, d_model=16, num_mel_bins=80, max_target_positions=12, encoder_layers=2,
        decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24,
        decoder_ffn_dim=24, pad_token_id=256, bos_token_id=256, eos_token_id=256, decoder_start_token_id=257,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config).half().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model = model.half()
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    variables = ctranslate2_variables(state, layers=2, heads=2)
    files = (folder / "model.bin", folder / "config.json", folder / "tokenizer.json")
    write_ctranslate2(files[0], variables, {"decoder/projection/weight": "decoder/embeddings/weight"})
    told = {
        "alignment_heads": [[1, 0]],
        "lang_ids": [258, 259],
        "suppress_ids": [1, 2],
        "suppress_ids_begin": [5],
    }
    files[1].write_text(json.dumps(told))
    write_tokenizer(files[2])
    return TinyWhisper(files, variables, model.float())
