"""Frozen LLMs with linear layers in 4 bits (NF4; Dettmers et al., QLoRA, NeurIPS 2023), by bitsandbytes.

Training and decoding compute in bf16, and trained parameters are kept in fp32, as at precision `bf16`. A
run's digest includes the precision, so runs of different precision are never confused.
"""

from __future__ import annotations

import importlib.util

import torch

from speechllm_bench.errors import UserError

PACKAGE = "bitsandbytes"


def packing() -> dict:
    """Return keywords of `from_pretrained`. Raises UserError without a CUDA GPU or without bitsandbytes."""
    if not torch.cuda.is_available():
        raise UserError(
            "precision nf4 keeps LLMs in 4 bits, which needs a CUDA GPU, and there is none here; "
            "take precision bf16 or fp32"
        )
    if importlib.util.find_spec(PACKAGE) is None:
        raise UserError(
            f"precision nf4 needs the package {PACKAGE}; `pip install 'speechllm-bench[{PACKAGE}]'`"
        )
    from transformers import BitsAndBytesConfig

    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    # Load straight to the GPU, because the layers are quantised during the transfer.
    return {"quantization_config": quantized, "device_map": {"": torch.cuda.current_device()}}
