"""Speed of training and decoding in the suite, compared with a plain loop. Writes benchmarks/plain_loop.md.

    python benchmarks/plain_loop.py

Both run in one process, with the same model with random weights, the same turns and the same batches. The
plain loop is a simple first implementation: audio padded to 30 s and encoded at each step, logits at all
positions, answers one by one. With a GPU the model has the shapes of profile `paper`'s headline (1 B
parameters, MLP and LoRA, batch 16). Without one it is small, and the page says NOT RUN for the real shapes.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paper_scale
import torch
from torch import nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from speechllm_bench.data import questions
from speechllm_bench.data.audio import SAMPLE_RATE
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.devices import device
from speechllm_bench.models.encoder import encode
from speechllm_bench.models.inputs import collate
from speechllm_bench.planning import probes
from speechllm_bench.running import probing
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import runs

PAGE = Path(__file__).with_name("plain_loop.md")
STUDY, VARIANT, BATCH = "lora", "mlp_lora", 16
PLAIN_STEPS, ANSWERS, NEW_TOKENS = 6, 32, 48


@dataclass(frozen=True)
class Measured:
    """Measurements of one implementation."""

    examples: float  # per second, in training
    answers: float  # per second, in decoding
    gib: float  # peak GPU memory, in training
    positions: float  # per example, padding included


def main() -> None:
    on_gpu = torch.cuda.is_available()
    config = headline() if on_gpu else paper_scale.small(headline(), BATCH)
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer, data = paper_scale.build(config, Path(folder))
        n = sum(p.numel() for p in model.llm.parameters())
        ours = suite(config, model, tokenizer, data)
        plain = Plain(config, model, tokenizer, data)
        plainly = Measured(plain.train(), plain.decode(), plain.gib, plain.positions)
    runs.write_text(PAGE, page(n, ours, plainly))
    print(PAGE.read_text("utf-8"))


def headline() -> RunConfig:
    """Return the configuration with the real shapes and batches of `BATCH`. Its last stage is measured."""
    config = paper_scale.paper_config(STUDY, VARIANT)
    stages = [stage.model_copy(update={"batch_size": BATCH}) for stage in config.stages]
    return config.model_copy(update={"stages": stages})


def suite(config: RunConfig, model, tokenizer, data) -> Measured:
    """Measure the suite: training as in its stages, and decoding in one batch."""
    found = paper_scale.train(config, model, tokenizer, data)
    turns, examples = asked(config, data)
    began = time.perf_counter()
    decode(
        model, tokenizer, examples, turns, **data.heard(turns, "gold", examples), batch_size=ANSWERS,
        max_new_tokens=NEW_TOKENS,
    )  # fmt: skip
    answers = ANSWERS / (time.perf_counter() - began)
    heard = data.heard(turns[:BATCH], "gold", examples[:BATCH])
    batch = collate(tokenizer, examples[:BATCH], **heard, speech_tokens=model.speech_tokens, with_answer=True)
    positions = batch.attended.numel() / BATCH
    return Measured(BATCH / found.step_seconds, answers, found.peak_gib, positions)


def asked(config: RunConfig, data):
    """Return the first `ANSWERS` training turns and their questions."""
    turns = data.train[:ANSWERS]
    return turns, [
        questions.evaluation_example(u, data.slot_types, "slots", style=config.prompt) for u in turns
    ]


class Plain:
    """The plain loop, with the suite's model and prompts."""

    def __init__(self, config: RunConfig, model, tokenizer, data):
        self.config, self.model, self.tokenizer, self.data = config, model, tokenizer, data
        width, layers, heads = paper_scale.WHISPERS[config.encoder.path]
        shape = {"d_model": width, "encoder_layers": layers, "encoder_attention_heads": heads}
        whisper = WhisperConfig(**shape, encoder_ffn_dim=4 * width)
        self.encoder = WhisperEncoder(whisper).eval().to(device())
        self.rng, self.gib, self.positions = np.random.default_rng(0), float("nan"), 0.0

    def frames(self, turns) -> list[np.ndarray]:
        """Return encoder frames (1500, D) for each turn, of 30 s of noise whatever its length."""
        audio = [self.rng.normal(0, 0.1, 30 * SAMPLE_RATE).astype(np.float32) for _ in turns]
        found = dict(encode(self.encoder, audio, "30s"))
        return [found[i] for i in range(len(turns))]

    def batch(self, turns, examples, with_answer: bool):
        told = {"frames": self.frames(turns), "speech_tokens": self.model.speech_tokens}
        return collate(self.tokenizer, examples, **told, with_answer=with_answer).to(device())

    def train(self) -> float:
        """Return training examples per second."""
        parts, spans = self.config.stages[-1].train, []
        optimizer = torch.optim.AdamW(self.model.trained_parameters(parts).values(), lr=1e-4)
        gc.collect()
        if on_gpu := torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        _, questions_ = asked(self.config, self.data)
        for step in range(PLAIN_STEPS):
            began = time.perf_counter()
            places = [(step * BATCH + i) % len(questions_) for i in range(BATCH)]
            batch = self.batch([self.data.train[i] for i in places], [questions_[i] for i in places], True)
            with self.model.arithmetic():
                embedded = self.model.embeddings(batch)
                logits = self.model.llm(inputs_embeds=embedded, attention_mask=batch.attended.long()).logits
                labels = batch.tokens.masked_fill(~batch.answer, -100)[:, 1:]
                loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels.flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            loss.item()  # waits for the GPU
            self.positions = batch.attended.numel() / BATCH
            spans.append(time.perf_counter() - began)
        self.gib = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else float("nan")
        return BATCH / statistics.median(spans[1:])

    def decode(self) -> float:
        """Return answers per second, decoded one at a time."""
        self.model.eval()
        turns, examples = asked(self.config, self.data)
        began = time.perf_counter()
        for turn, example in zip(turns[:8], examples[:8], strict=True):
            batch = self.batch([turn], [example], False)
            end = self.tokenizer.eos_token_id
            self.model.generate(batch, NEW_TOKENS, end, self.tokenizer.pad_token_id)
        return 8 / (time.perf_counter() - began)


def page(n: int, ours: Measured, plain: Measured) -> str:
    """Return the page in Markdown."""
    on_gpu, versions = torch.cuda.is_available(), runs.environment()["libraries"]
    where = probing.device_name() if on_gpu else "a CPU, at a small size"
    rows = [
        f"| {name} | {found.examples:.1f} | {share(n, found, on_gpu)} | "
        f"{f'{found.gib:.0f}' if on_gpu else 'NOT RUN'} | {found.answers:.2f} |"
        for name, found in (("the suite", ours), ("a plain loop", plain))
    ]
    real = "" if on_gpu else (
        "\n**NOT RUN: the real shapes on a GPU** (1 B parameters, MLP and LoRA, batch 16), with the share of "
        "its bf16 rate and its memory. On a machine with a GPU, `python benchmarks/plain_loop.py` writes "
        "them here.\n"
    )  # fmt: skip
    return "\n".join(
        [
            "# The suite and a plain loop",
            "",
            f"By `python benchmarks/plain_loop.py`, on {where}: {n / 1e6:.1f} M parameters, batch {BATCH}; "
            f"torch {versions['torch']}, transformers {versions['transformers']}. **No number here is a "
            "result**: the weights are random. The plain loop pads audio to 30 s, encodes it at each step, "
            "computes logits at all positions and answers one by one. Both answer with up to "
            f"{NEW_TOKENS} tokens.",
            real,
            "| | examples a second | share of the bf16 rate | GPU memory, GiB | answers a second |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Training is {ours.examples / plain.examples:.1f} times as fast as the plain loop, and decoding "
            f"{ours.answers / plain.answers:.1f} times.",
            "",
        ]
    )


def share(n: int, found: Measured, on_gpu: bool) -> str:
    """Return the LLM's rate of operations as a share of the maker's dense bf16 rate: 4 n per position.

    n: parameters of the LLM. The factor is two for the forward pass and two for the gradients of
    activations; weights are frozen.
    """
    name = probing.device_name().lower().replace("-", " ").split()
    chip = next((probes.CHIPS[kind] for kind in probes.CHIPS if kind in name), None)
    if not on_gpu or chip is None:
        return "NOT RUN"
    return f"{4 * n * found.positions * found.examples / (chip.bf16 * 1e12):.0%}"


if __name__ == "__main__":
    main()
