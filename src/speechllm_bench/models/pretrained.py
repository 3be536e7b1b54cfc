"""Loading of backbones with transformers, from a zoo folder, another folder or the copy of a hub model."""

from __future__ import annotations

import ctypes
import logging as python_logging
import sys
import warnings
from collections.abc import Callable, Collection
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging

from speechllm_bench import backbones
from speechllm_bench.errors import UserError
from speechllm_bench.models import four_bit
from speechllm_bench.settings.config import Precision
from speechllm_bench.storage import paths

logging.disable_progress_bar()  # models load within seconds
for _name in ("modeling_utils", "distributed"):  # faults are told in one sentence; layers are of no interest
    python_logging.getLogger(f"transformers.{_name}").setLevel(python_logging.ERROR)
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)  # of peft

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "suppress_tokens",
             "begin_suppress_tokens")  # fmt: skip
"""Generation settings that name tokens."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # parameters of mallopt(3)
_SETTINGS = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 2**28}  # no mmap, no trimming, grow by 256 MiB

DTYPES = {"fp32": "float32", "mixed": "float32", "bf16": "bfloat16", "nf4": "bfloat16"}


def keep_freed_memory() -> bool:
    """Keep freed memory in the process from now on, so that the next step can reuse it.

    glibc returns large blocks to the system as soon as they are freed. A step of training or decoding frees
    gigabytes, which the system has to zero again, page by page. This made a training step of the profile
    `small` 1.3 times as long on a virtual machine (Intel Sapphire Rapids, one core). False: the C library
    lacks these settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(*setting) == 1 for setting in _SETTINGS.items())


def load_pretrained(
    kind: Any, name: str, precision: Precision = "fp32", unused: Collection[str] = ()
) -> PreTrainedModel:
    """Load a model with `kind.from_pretrained`, from safetensors only, converted to `precision`.

    Nothing is downloaded. unused: names of tensors that a folder may hold although `kind` lacks them. Raises
    UserError where the weights are missing, damaged or not finite, or do not match the configuration exactly:
    transformers would fill missing tensors with random numbers.
    """
    keep_freed_memory()  # a process that loads a backbone will compute with it
    packed = four_bit.packing() if precision == "nf4" else {}
    model, found = loaded(
        kind.from_pretrained,
        name,
        use_safetensors=True,
        dtype=DTYPES[precision],
        ignore_mismatched_sizes=True,  # reported below
        output_loading_info=True,
        **packed,
    )
    faults = {
        "missing": found["missing_keys"],
        "unexpected": set(found["unexpected_keys"]) - set(unused),
        "of another shape": [key for key, *_ in found["mismatched_keys"]],
        "in error": found.get("error_msgs", ()),
    }
    told = [f"{len(keys)} {fault}, such as {min(keys)}" for fault, keys in faults.items() if keys]
    if told:
        raise UserError(
            f"the weights of {name} are not those of its config.json (tensors: {'; '.join(told)}): "
            f"{backbones.remedy(name)}"
        )
    if wrong := not_finite(model) or _odd_token(model):
        raise UserError(f"{name} is damaged ({wrong}): {backbones.remedy(name)}")
    return model


def loaded(load: Callable, name: str, **settings):
    """Call a `from_pretrained` on a local backbone, after its files have been checked.

    Raises UserError, with the remedy, for any fault of the files.
    """
    backbones.refuse_changed(name)
    try:
        return load(paths.backbone(name), local_files_only=True, **settings)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except SafetensorError as error:
        raise UserError(f"the weights of {name} are damaged ({error}): {backbones.remedy(name)}") from None
    # OSError means a folder without weights or an unknown hub name. A damaged configuration or tokenizer
    # may raise any error.
    except Exception as error:
        told = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise UserError(f"{name} cannot be loaded ({told}): {backbones.remedy(name)}") from None


def not_finite(model: PreTrainedModel) -> str | None:
    """Return a phrase on the first tensor that holds NaN or infinity; None if all are finite."""
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not weight.isfinite().all():
            return f"its tensor {name} holds numbers that are not finite"
    return None


def _odd_token(model: PreTrainedModel) -> str | None:
    """Return a phrase on the first generation setting that should name tokens and does not, else None."""
    told = getattr(model, "generation_config", None)  # a model that writes nothing has none
    if told is None:
        return None
    settings = vars(told)
    for name in TOKEN_IDS:
        value = settings.get(name)
        tokens = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(token) is int for token in tokens):
            return f"{name} of its generation settings is {value!r:.80}, which is no token id"
    start = settings.get("decoder_start_token_id")
    if (
        model.config.is_encoder_decoder
        and not 0 <= (-1 if start is None else start) < model.config.vocab_size
    ):
        return f"decoder_start_token_id of its generation settings is {start}, which is no token of the model"
    return None
