"""Loading a backbone through transformers: from a zoo folder, any other folder or the copy of a hub model."""

from __future__ import annotations

from safetensors import SafetensorError
from transformers import PreTrainedModel

from speechllm_bench import paths
from speechllm_bench.config import Precision
from speechllm_bench.errors import UserError

DTYPES = {"fp32": "float32", "mixed": "float32", "bf16": "bfloat16"}


def load_pretrained(kind: type, name: str, precision: Precision = "fp32") -> PreTrainedModel:
    """`kind.from_pretrained`: safetensors alone, in `precision` whatever they are stored in, and nothing
    downloaded.

    Raises UserError where the weights are missing or damaged.
    """
    try:
        return kind.from_pretrained(
            paths.backbone(name), use_safetensors=True, dtype=DTYPES[precision], local_files_only=True
        )
    except SafetensorError as error:
        raise UserError(f"the weights of {name} are damaged ({error}): {_remedy(name)}") from None
    except OSError as error:  # transformers tells a folder without weights and an unknown hub name so
        raise UserError(f"{name} cannot be loaded ({str(error).splitlines()[0]}): {_remedy(name)}") from None


def _remedy(name: str) -> str:
    if name.startswith("zoo/"):
        return f"bring the folder back with `git checkout {name}` and run again"
    if name.startswith("fetched/"):
        return "fetch it again with `speechllm-bench fetch small`"
    return "get the model anew, or correct its name in the profile, and run again"
