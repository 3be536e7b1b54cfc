"""Time and memory of profile `paper` on this machine's GPU. Writes benchmarks/paper_scale.md.

    python benchmarks/paper_scale.py

The weights of the real models are not needed. Models of the same classes and shapes with random weights are
trained for a few steps by the suite's own stages. Needs the zoo for its tokenizer and, while it runs, 16 GB
of disk for the largest LLM. Without a GPU the same steps are done with small models, their rows are printed,
the real shapes are NOT RUN, and the page stays what it is.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from speechllm_bench.data import corpora
from speechllm_bench.data.audio import SAMPLE_RATE
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.frames import FrameStore, FrameWriter
from speechllm_bench.errors import UserError
from speechllm_bench.models.devices import device
from speechllm_bench.models.encoder import encode
from speechllm_bench.models.llm import load_tokenizer
from speechllm_bench.planning.studies import load
from speechllm_bench.settings.config import EncoderConfig, RunConfig
from speechllm_bench.settings.experiments import resolve
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.training import stages

STEPS = 12 if torch.cuda.is_available() else 3  # of training
VALIDATED = 1  # turn; a stage needs some validation
CHARACTERS_A_SECOND = 13
TOKENIZER = "zoo/llm-mini"

SHAPES = {  # from the config.json of the real models, as published by their authors
    "meta-llama/Llama-3.2-1B-Instruct": {
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
        "tie_word_embeddings": True, "max_position_embeddings": 131072,
    },
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": {
        "model_type": "llama", "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632,
        "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
        "tie_word_embeddings": False, "max_position_embeddings": 2048,
    },
    "Qwen/Qwen3-4B": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "tie_word_embeddings": True, "max_position_embeddings": 40960,
    },
    "meta-llama/Llama-3.1-8B-Instruct": {
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "tie_word_embeddings": False, "max_position_embeddings": 131072,
    },
}  # fmt: skip

SHAPES["small/llm"] = {
    "model_type": "llama", "vocab_size": 4096, "hidden_size": 128, "intermediate_size": 256,
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "tie_word_embeddings": True, "max_position_embeddings": 2048,
}  # fmt: skip

WHISPERS = {  # d_model, layers, heads
    "openai/whisper-base": (512, 6, 8),
    "openai/whisper-small": (768, 12, 12),
    "small/whisper": (64, 2, 2),
}

VARIANTS = [  # study and variant; the last stage is timed
    ("adapter_size", "mlp"),
    ("lora", "transformer_lora"),
    ("sense", "unified_ner_lora"),
    ("reasoning_mode", "reasoning"),
    ("foundation_type", "instruct_regular"),
    ("foundation_type", "instruct_reasoning"),
]


@dataclass(frozen=True)
class Measured:
    """Measurements of a training."""

    step_seconds: float  # median
    peak_gib: float  # of GPU memory, in training


def main() -> None:
    lines, on_gpu = [], torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        for study, variant in VARIANTS:
            config = paper_config(study, variant)
            lines.append(_row(study, variant, config if on_gpu else small(config, 4), Path(folder)))
            print(lines[-1], flush=True)
    if not on_gpu:
        print("NOT RUN: the real shapes. There is no GPU here, and paper_scale.md stays what it is.")
        return
    runs.write_text(Path(__file__).with_name("paper_scale.md"), _page(lines))


def paper_config(study: str, variant: str) -> RunConfig:
    """Return the configuration of a variant at profile `paper`, seed 0."""
    loaded, profile = load(study, "paper")
    return resolve(profile, loaded.variant(variant), 0)


def small(config: RunConfig, batch_size: int) -> RunConfig:
    """Return the configuration at a small size, for a machine without a GPU."""
    sizes = {"width": 64, "feed_forward": 64}
    adapter = config.adapter.model_copy(update={k: n for k, n in sizes.items() if hasattr(config.adapter, k)})
    stages_ = [stage.model_copy(update={"batch_size": batch_size}) for stage in config.stages]
    own = {"llm": "small/llm", "encoder": EncoderConfig(path="small/whisper", padding="30s")}
    own |= {"adapter": adapter, "precision": "fp32", "stages": stages_}
    return config.model_copy(update=own)


def _row(study: str, variant: str, config: RunConfig, folder: Path) -> str:
    model, tokenizer, data = build(config, folder)
    batch_size = config.stages[-1].batch_size
    cells = [f"`{study}`", f"`{variant}`", config.llm, f"{n_trained(config, model) / 1e6:.1f} M"]
    for recomputes in (False, True):
        if recomputes:
            model.recompute_activations()
        try:
            found = train(config, model, tokenizer, data)
            fits = model.recomputes == recomputes  # False if training had to switch to recomputation
        except UserError:  # out of memory even so
            fits = False
        rate = f"{batch_size / found.step_seconds:.0f}" if fits else ""
        memory = f"{found.peak_gib:.0f}" if torch.cuda.is_available() else "NOT RUN"
        cells += [memory if fits else "does not fit", rate]
    return f"| {' | '.join(cells)} |"


def build(config: RunConfig, folder: Path):
    """Return model, tokenizer and data of `config` with random weights, which are stored in `folder`."""
    llm = folder / config.llm.replace("/", "_")
    if not llm.is_dir():
        write_llm(config.llm, llm)
    frames = folder / config.encoder.path.replace("/", "_")
    if not frames.is_dir():
        hear(config, frames)
    store = FrameStore.open(frames)
    model, tokenizer = stages.build_model(config.model_copy(update={"llm": str(llm)}), store.dim)
    return model, tokenizer, stages.Data(*utterances(config), corpora.slot_types("call_centre"), store)


def n_trained(config: RunConfig, model) -> int:
    """Return the number of parameters that the last stage trains."""
    return sum(p.numel() for p in model.trained_parameters(config.stages[-1].train).values())


def train(config: RunConfig, model, tokenizer, data: stages.Data) -> Measured:
    """Train `STEPS` steps of the last stage of `config`, and measure them."""
    few = {"examples": STEPS * config.stages[-1].batch_size, "evaluations": 1, "beside": None}
    stage = config.stages[-1].model_copy(update=few | {"validation_examples": VALIDATED, "decoded_turns": 0})
    config, moments = config.model_copy(update={"stages": [stage]}), []
    gc.collect()  # frees the model of the previous variant
    if on_gpu := torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        stages.train_stage(
            config, 0, model, tokenizer, data, Path(folder), lambda share: moments.append(time.monotonic())
        )
    seconds = statistics.median(np.diff(moments[1:]))  # without the first step, which includes warm-up
    return Measured(seconds, torch.cuda.max_memory_allocated() / 2**30 if on_gpu else float("nan"))


def write_llm(name: str, folder: Path) -> None:
    """Write an LLM of this shape with random weights in bf16, and the zoo's tokenizer."""
    shape = dict(SHAPES[name])
    tokenizer = load_tokenizer(TOKENIZER)
    shape |= {"eos_token_id": None, "bos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(shape.pop("model_type"), **shape)
    torch.manual_seed(0)
    with torch.device(device()):
        llm = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    llm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def utterances(config: RunConfig) -> tuple[list[Utterance], list[Utterance]]:
    """Return the training and validation turns that the timed steps need."""
    n = STEPS * config.stages[-1].batch_size
    return call_centre.utterances("train", n), call_centre.utterances("validation", VALIDATED)


def hear(config: RunConfig, folder: Path) -> None:
    """Write encoder frames of noise as long as the turns, by a random Whisper of the encoder's shape."""
    width, layers, heads = WHISPERS[config.encoder.path]
    shape = {"d_model": width, "encoder_layers": layers, "encoder_attention_heads": heads}
    encoder = WhisperEncoder(WhisperConfig(**shape, encoder_ffn_dim=4 * width)).eval().to(device())
    rng = np.random.default_rng(0)
    with FrameWriter(folder, width, {}) as writer:
        for turns in utterances(config):
            seconds = [max(1.0, len(turn.transcript) / CHARACTERS_A_SECOND) for turn in turns]
            audio = [rng.normal(0, 0.1, int(SAMPLE_RATE * s)).astype(np.float32) for s in seconds]
            for i, frames in encode(encoder, audio, config.encoder.padding):
                writer.add(turns[i].id, frames)


def _page(lines: list[str]) -> str:
    """Return the page in Markdown."""
    versions, total = runs.environment()["libraries"], torch.cuda.get_device_properties(0).total_memory
    gpu = f"{torch.cuda.get_device_name()}, {total / 2**30:.0f} GiB"
    return "\n".join(
        [
            "# What profile `paper` takes",
            "",
            f"By `python benchmarks/paper_scale.py`, on one {gpu}; torch {versions['torch']}, transformers "
            f"{versions['transformers']}. **No number here is a result**. Models of the real classes and "
            "shapes have random weights. They are trained for a few steps of a variant's last stage, in the "
            "profile's batches. Turns are from the call-centre corpus, with the zoo's tokenizer. It makes "
            "more tokens of a text than the real tokenizers, so memory and time are higher than with those.",
            "",
            "If memory runs out, a training computes activations again and does not keep them. Gradients are "
            "the same, and large LLMs take more time. Both ways were measured in the order of the columns, "
            "so the GPU's first allocations count in the time of the way that keeps activations.",
            "",
            "| study | variant | LLM | trained | kept: GiB | examples a second | computed again: GiB "
            "| examples a second |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
