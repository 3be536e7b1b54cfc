"""Speed claims as ratios. Both sides are measured in one process, in turn. Writes benchmarks/speed.md.

    python benchmarks/speed.py

Needs the zoo and takes about two minutes on one core. Each pair runs `ROUNDS` times in
alternation. The page has the median of the rounds' ratios and their range. A profile shows which
operations take the time of a step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import torch
from hf_loop import PlainLoop
from torch import nn
from torch.profiler import ProfilerActivity, profile

from speechllm_bench.data import corpora, questions
from speechllm_bench.models import speech_llm
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.encoder import encode, load_encoder
from speechllm_bench.models.inputs import collate
from speechllm_bench.models.llm import load_llm
from speechllm_bench.planning import studies
from speechllm_bench.running import preparation
from speechllm_bench.settings.config import LoraConfig
from speechllm_bench.storage import runs
from speechllm_bench.training.stages import build_model
from speechllm_bench.zoo.llm_mini import ATTENTION, language_loss

ROUNDS = 5
PRODUCTS = "products of matrices"
KINDS = {
    PRODUCTS: {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::convolution"},
    "attention": {
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    },
    "elementwise": {
        f"aten::{name}"
        for name in (
            *(
                "add",
                "add_",
                "sub",
                "mul",
                "mul_",
                "div",
                "neg",
                "pow",
                "rsqrt",
                "mean",
                "sum",
                "silu",
                "gelu",
            ),
            *("silu_backward", "gelu_backward", "_softmax", "_log_softmax", "_log_softmax_backward_data"),
            *("copy_", "cat", "fill_", "index", "where", "masked_scatter", "native_layer_norm"),
        )
    },
}
PEERS = "\n[Another page](peers.md) has ratios to SLAM-LLM and to the model class of ultravox.\n"


def compare(slow: Callable[[], object], fast: Callable[[], object]) -> tuple[float, float, float]:
    """Return the median of the time ratios, slow over fast, and their minimum and maximum over rounds."""
    ratios = []
    for _ in range(ROUNDS):
        taken = []
        for side in (slow, fast):
            began = time.perf_counter()
            side()
            taken.append(time.perf_counter() - began)
        ratios.append(taken[0] / taken[1])
    return statistics.median(ratios), min(ratios), max(ratios)


def shares(side: Callable[[], object]) -> tuple[dict[str, float], float]:
    """Return the time of `side` by kind of operation, as shares, and the rate of its
    matrix products in FLOP/s.
    """
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as measured:
        began = time.perf_counter()
        for _ in range(ROUNDS):
            side()
        whole = time.perf_counter() - began
    spent = dict.fromkeys((*KINDS, "other operations"), 0.0)
    flops = 0
    for event in measured.key_averages():
        kind = next((kind for kind, names in KINDS.items() if event.key in names), "other operations")
        spent[kind] += event.self_cpu_time_total / 1e6
        flops += event.flops if kind == PRODUCTS else 0
    spent["between operations"] = whole - sum(spent.values())
    return {kind: seconds / whole for kind, seconds in spent.items()}, flops / spent[PRODUCTS]


def own_rate() -> float:
    """Return the FLOP/s of this core in a large fp32 matrix product, the best of several."""
    x = torch.randn(1024, 1024)
    seconds = []
    for _ in range(2 * ROUNDS):
        began = time.perf_counter()
        x @ x
        seconds.append(time.perf_counter() - began)
    return 2 * 1024**3 / min(seconds)


def where(sides: Mapping[str, Callable[[], object]]) -> list[str]:
    """Return the section with the table of `shares`, in lines."""
    found = {name: shares(side) for name, side in sides.items()}
    kinds = list(next(iter(found.values()))[0])
    rate = own_rate()
    lines = [
        "## Where the time goes",
        "",
        "The table shows shares of our side's time, by torch's profiler. The profiler slows the time between "
        "operations most.",
        f"A product of two matrices of 1024 x 1024 runs at {rate / 1e9:.0f} GFLOP/s on this core.",
        "",
        f"| what | {' | '.join(kinds)} | rate of the products, share of the core's own |",
        f"|---|{'---|' * len(kinds)}---|",
    ]
    for name, (parts, reached) in found.items():
        cells = [f"{parts[kind]:.0%}" for kind in kinds]
        lines.append(f"| {name} | {' | '.join(cells)} | {reached / rate:.0%} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    torch.set_num_threads(1)
    run = studies.run("adapter_size", "mlp", 0, "smoke")
    config = run.config
    corpus = preparation.ensure_corpus(config.corpus, 2)
    frames = preparation.ensure_frames(config, corpus)
    model, tokenizer = build_model(config, frames.dim)
    utterances = corpus.utterances("validation")[:32]
    types = corpora.slot_types("call_centre")
    examples = [questions.evaluation_example(u, types, "slots") for u in utterances]
    heard = [frames[u.id] for u in utterances]
    audio = [corpus.audio("validation", i) for i in range(len(utterances))]
    encoder = load_encoder(config.encoder.path)
    batch = collate(tokenizer, examples, frames=heard, speech_tokens=model.speech_tokens, with_answer=True)

    def all_logits() -> torch.Tensor:
        hidden = model.llm.model(inputs_embeds=model.embeddings(batch), attention_mask=batch.attended.long())
        logits = model.llm.lm_head(hidden.last_hidden_state)[:, :-1]
        wanted = batch.tokens[:, 1:].masked_fill(~batch.answer[:, 1:], -100)
        return nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())

    def decode_in(size: int):
        return decode(
            model, tokenizer, examples, utterances, frames=heard, batch_size=size, max_new_tokens=24
        )

    eight, theirs, sounds, their_frames = (some[:8] for some in (examples, utterances, audio, heard))
    plain = PlainLoop(model, encoder, tokenizer, eight, sounds, their_frames)
    model.trained_parameters(["adapter"])
    optimizer = torch.optim.AdamW(model.adapter.parameters(), lr=0.0)  # the same work in all rounds

    def step(loss: Callable[[], torch.Tensor]) -> Callable[[], float]:
        def one() -> float:
            found = loss()
            found.backward()
            nn.utils.clip_grad_norm_(model.adapter.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return found.item()

        return one

    def our_loss() -> torch.Tensor:
        speech = {"frames": their_frames, "speech_tokens": model.speech_tokens}
        return model.loss(collate(tokenizer, eight, **speech, with_answer=True))

    def our_answers() -> None:
        decode(model, tokenizer, eight, theirs, frames=their_frames, batch_size=8, max_new_tokens=24)

    same = abs(step(our_loss)() / step(lambda: plain.loss(tricks=True))() - 1)
    assert same < 1e-4, f"the losses of both loops differ by {same:.1e} of themselves"

    def tuned_with(dropout: float) -> Callable[[], None]:
        lora = LoraConfig(rank=6, alpha=24, dropout=dropout)
        tuned, _ = build_model(config.model_copy(update={"lora": lora}), frames.dim)
        tuned.trained_parameters(["adapter", "lora"])
        tuned.train()
        return lambda: tuned.loss(batch).backward()

    def reads_with(attention: str) -> Callable[[], None]:
        reader = load_llm("zoo/llm-mini-base").requires_grad_(True)
        reader.set_attn_implementation(attention)
        rows = torch.randint(reader.config.vocab_size, (32, 160), generator=torch.Generator().manual_seed(0))

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16):
                loss = language_loss(reader, rows)
            loss.backward()

        return step

    compiled, _ = build_model(config, frames.dim)
    compiled.trained_parameters(["adapter"])
    for layer in compiled.llm.model.layers:
        layer.compile(dynamic=True)

    def loss_of(some: speech_llm.SpeechLLM) -> None:
        speech = {"frames": their_frames, "speech_tokens": some.speech_tokens}
        some.loss(collate(tokenizer, eight, **speech, with_answer=True)).backward()

    began = time.perf_counter()
    loss_of(compiled)
    loss_of(compiled)  # the second step compiles some code again
    compiling = time.perf_counter() - began

    def whole_last_layer() -> None:
        with mock.patch.object(speech_llm, "last_feed_forward", lambda llm: None):
            model.loss(batch).backward()

    def decode_to_the_longest() -> None:
        with mock.patch.object(speech_llm.SpeechLLM, "in_fp32", False):
            decode_in(32)

    claims = {
        "training step of 8 turns, plain loop / ours": (
            step(lambda: plain.loss(tricks=False)),
            step(our_loss),
        ),
        "the same, plain loop with trimmed audio, stored frames and logits at answers / ours": (
            step(lambda: plain.loss(tricks=True)),
            step(our_loss),
        ),
        "8 answers of 24 tokens at most, plain loop / ours": (
            lambda: plain.answers(False, tokenizer.eos_token_id, 24),
            our_answers,
        ),
        "the same, plain loop with trimmed audio and stored frames / ours": (
            lambda: plain.answers(True, tokenizer.eos_token_id, 24),
            our_answers,
        ),
        "encoding 8 turns padded to 30 s / trimmed to their length": (
            lambda: list(encode(encoder, audio[:8], "30s")),
            lambda: list(encode(encoder, audio[:8], "trimmed")),
        ),
        "encoding 32 turns / reading their stored frames": (
            lambda: list(encode(encoder, audio, "trimmed")),
            lambda: [frames[u.id].sum() for u in utterances],
        ),
        "decoding 32 turns one by one / in one batch": (lambda: decode_in(1), lambda: decode_in(32)),
        "decoding 32 turns with finished rows kept / without them": (
            decode_to_the_longest,
            lambda: decode_in(32),
        ),
        "loss and gradients of 32 turns with the last feed-forward layer everywhere / at answers alone": (
            whole_last_layer,
            lambda: model.loss(batch).backward(),
        ),
        "loss of 32 turns with logits everywhere / at the answer alone": (
            lambda: all_logits().backward(),
            lambda: model.loss(batch).backward(),
        ),
        "loss and gradients of 32 turns with LoRA of dropout 0.05 / of none": (
            tuned_with(0.05),
            tuned_with(0.0),
        ),
        f"loss and gradients of 8 turns as they are / with torch.compile, which takes {compiling:.0f} s": (
            lambda: loss_of(model),
            lambda: loss_of(compiled),
        ),
        "loss and gradients of 32 x 160 tokens of text in bf16 with fused attention / without": (
            reads_with("sdpa"),
            reads_with(ATTENTION),
        ),
    }
    environment = runs.environment()
    lines = [
        "## Ratios",
        "",
        "The table shows the time of the first side divided by that of the second. Both ran in one process "
        f"on one thread, in {ROUNDS} rounds in alternation, by `python benchmarks/speed.py` on "
        f"{environment['processor']}.",
        "",
        "| claim | times faster | range |",
        "|---|---|---|",
    ]
    for claim, sides in claims.items():
        median, low, high = compare(*sides)
        lines.append(f"| {claim} | {median:.1f} | {low:.1f} to {high:.1f} |")
        print(lines[-1], flush=True)
    sides = {
        "training step of 8 turns, adapter alone": step(our_loss),
        "32 answers of 24 tokens at most": lambda: decode_in(32),
    }
    lines += ["", *where(sides)]
    runs.write_text(Path(__file__).with_name("speed.md"), "\n".join(lines) + "\n" + PEERS)


if __name__ == "__main__":
    main()
