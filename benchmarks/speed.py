"""Speed claims as ratios. Both sides are measured in one process, in turn. Writes benchmarks/speed.md.

    python benchmarks/speed.py [--compile | --profile]

Needs the zoo and takes about two minutes on one core. Times are CPU-seconds. Each pair runs `ROUNDS` times
in alternation. The page has the median of the rounds' ratios and their range. A profile shows which
operations take the time of a step, and how far the aims can be reached. With --compile a row on
torch.compile is added, which compiles for half a minute. With --profile only the profile and the limits are
measured, and the ratios are those of the page.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import torch
from hf_loop import PlainLoop, few_turns
from profiled import ROUNDS, Profiled, limit, own_rate, profiled
from torch import nn

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

PAGE = Path(__file__).with_name("speed.md")
STEP, ANSWERS = "training step of 8 turns, adapter alone", "8 answers of 24 tokens at most"
TRICKS_STEP = "the same, plain loop with trimmed audio, stored frames and logits at answers / ours"
TRICKS_ANSWERS = "the same, plain loop with trimmed audio and stored frames / ours"
AIMS = {
    TRICKS_STEP: (1.5, STEP),
    TRICKS_ANSWERS: (2.5, ANSWERS),
    "training step, SLAM-LLM as shipped / ours": (10, STEP),
    "answers, SLAM-LLM as shipped / ours": (20, ANSWERS),
    "training step, the model class of ultravox / ours": (3, STEP),
    "answers, the model class of ultravox / ours": (4, ANSWERS),
}
"""Claim -> the aim, and the work of ours whose profile sets the limit. peers.md has the last four ratios."""


def compare(slow: Callable[[], object], fast: Callable[[], object]) -> tuple[float, float, float]:
    """Return the median ratio of CPU-seconds, slow over fast, and its minimum and maximum over rounds."""
    ratios = []
    for _ in range(ROUNDS):
        taken = []
        for side in (slow, fast):
            began = time.process_time()
            side()
            taken.append(time.process_time() - began)
        ratios.append(taken[0] / taken[1])
    return statistics.median(ratios), min(ratios), max(ratios)


def where(sides: Mapping[str, Profiled]) -> list[str]:
    """Return the section with the table of profiles, in lines."""
    kinds, rate = list(next(iter(sides.values())).shares), own_rate()
    lines = [
        "## Where the time goes",
        "",
        "The table shows shares of our side's time, by torch's profiler. The profiler slows the time between "
        "operations most. Its times are scaled to CPU-seconds, since other processes may run meanwhile.",
        f"A product of two matrices of 1024 x 1024 runs at {rate / 1e9:.0f} GFLOP/s on this core. The last "
        "column repeats the products of the work, of the same shapes in fp32, each alone.",
        "",
        f"| what | {' | '.join(kinds)} | rate of the products, share of the core's own | the same, share of "
        "the same products alone |",
        f"|---|{'---|' * len(kinds)}---|---|",
    ]
    for name, found in sides.items():
        cells = [f"{found.shares[kind]:.0%}" for kind in kinds]
        lines.append(f"| {name} | {' | '.join(cells)} | {found.rate / rate:.0%} | {found.alone:.0%} |")
        print(lines[-1], flush=True)
    return lines


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the tables in a page, row by row."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def peers() -> dict[str, float]:
    """Return the median ratios with stored frames by claim, as peers.md has them."""
    rows = rows_of(PAGE.with_name("peers.md").read_text("utf-8"))
    columns = {"training step": "step, stored", "answers": "answers, stored"}
    return {
        f"{what}, {row[0]} / ours": float(row[rows[0].index(column)].split()[0])
        for what, column in columns.items()
        for row in rows[2:]
        if row[rows[0].index(column)][0].isdigit()
    }


def limits(ratios: Mapping[str, float], sides: Mapping[str, Profiled]) -> list[str]:
    """Return the section on aims and limits, in lines. ratios: median by claim."""
    lines = [
        "## Aims and limits",
        "",
        "Here times are those without the profiler, and those of each product alone. *Best* is the ratio if "
        "all but the products, at their rate alone, and attention took no time. The last column says which "
        "share of its time all the rest may take, so that the aim is met. Ratios to other programs are those "
        "of [another page](peers.md), with stored frames.",
        "",
        "| claim | aim | measured | needed by products and attention | best | rest |",
        "|---|---|---|---|---|---|",
    ]
    for claim, (aim, side) in AIMS.items():
        floor = sides[side].floor
        cells = " | ".join(limit(ratios[claim], aim, floor))
        told = claim.replace("the same", side)  # the row of that work is in another table
        lines.append(f"| {told} | {aim:g} | {ratios[claim]:.1f} | {floor:.0%} | {cells} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    torch.set_num_threads(1)
    config = few_turns(studies.run("adapter_size", "mlp", 0, "smoke").config)
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

    sides = {
        STEP: profiled(step(our_loss)),
        ANSWERS: profiled(our_answers),
        "32 answers of 24 tokens at most": profiled(lambda: decode_in(32)),
    }

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

    def loss_of(some: speech_llm.SpeechLLM) -> None:
        speech = {"frames": their_frames, "speech_tokens": some.speech_tokens}
        some.loss(collate(tokenizer, eight, **speech, with_answer=True)).backward()

    def with_compiling() -> dict[str, tuple[Callable, Callable]]:
        compiled, _ = build_model(config, frames.dim)
        compiled.trained_parameters(["adapter"])
        for layer in compiled.llm.model.layers:
            layer.compile(dynamic=True)
        began = time.process_time()
        loss_of(compiled)
        loss_of(compiled)  # the second step compiles some code again
        took = f"with torch.compile, which takes {time.process_time() - began:.0f} s"
        return {
            f"loss and gradients of 8 turns as they are / {took}": (
                lambda: loss_of(model),
                lambda: loss_of(compiled),
            )
        }

    def whole_last_layer() -> None:
        with mock.patch.object(speech_llm, "last_feed_forward", lambda llm: None):
            model.loss(batch).backward()

    def decode_by_transformers() -> None:
        with mock.patch.object(speech_llm.SpeechLLM, "in_fp32", False):
            decode_in(32)

    claims = {
        "training step of 8 turns, plain loop / ours": (
            step(lambda: plain.loss(tricks=False)),
            step(our_loss),
        ),
        TRICKS_STEP: (
            step(lambda: plain.loss(tricks=True)),
            step(our_loss),
        ),
        "8 answers of 24 tokens at most, plain loop / ours": (
            lambda: plain.answers(False, tokenizer.eos_token_id, 24),
            our_answers,
        ),
        TRICKS_ANSWERS: (
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
        "decoding 32 turns by generate of transformers / by the suite's own steps": (
            decode_by_transformers,
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
        "loss and gradients of 32 x 160 tokens of text in bf16 with fused attention / without": (
            reads_with("sdpa"),
            reads_with(ATTENTION),
        ),
    }
    if "--profile" in sys.argv[1:]:
        measured, _, _ = PAGE.read_text("utf-8").partition("\n## Where")
        medians = {claim: float(median) for claim, median, _ in rows_of(measured)[2:]}
    else:
        measured, medians = ratios(claims | (with_compiling() if "--compile" in sys.argv[1:] else {}))
    lines = [measured, *where(sides), "", *limits(medians | peers(), sides)]
    runs.write_text(PAGE, "\n".join(lines) + "\n")


def ratios(claims: Mapping[str, tuple[Callable, Callable]]) -> tuple[str, dict[str, float]]:
    """Return the section with the ratios, and the median of each claim."""
    lines = [
        "## Ratios",
        "",
        "The table shows CPU-seconds of the first side divided by those of the second. Both ran in one "
        f"process on one thread, in {ROUNDS} rounds in alternation, by `python benchmarks/speed.py` on "
        f"{runs.environment()['processor']}.",
        "",
        "| claim | times faster | range |",
        "|---|---|---|",
    ]
    medians = {}
    for claim, pair in claims.items():
        median, low, high = compare(*pair)
        medians[claim] = median
        lines.append(f"| {claim} | {median:.1f} | {low:.1f} to {high:.1f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n", medians


if __name__ == "__main__":
    main()
