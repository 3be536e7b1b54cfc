"""Speed claims as ratios, both sides measured in one process, in turn: writes benchmarks/speed.md.

    python benchmarks/speed.py

Needs the zoo and takes about two minutes on one core. Each pair is run `ROUNDS` times in alternation
and the median of the rounds' ratios is reported with their range.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from hf_loop import PlainLoop
from torch import nn

from speechllm_bench import preparation, runs, studies
from speechllm_bench.config import LoraConfig
from speechllm_bench.data import corpora, questions
from speechllm_bench.models import speech_llm
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.encoder import encode, load_encoder
from speechllm_bench.models.inputs import collate
from speechllm_bench.models.llm import load_llm
from speechllm_bench.training.stages import build_model
from speechllm_bench.zoo.llm_mini import ATTENTION, language_loss

ROUNDS = 5
PEERS = """
## Beside other programs

How many times the CPU-seconds of this suite a program took, on tiny models of equal size, on one plain core,
in alternation, at commit f635359. It was measured once, and no record says more of it: how each program read
the audio, for one. At the size of the embedded backbones the plain loop's training step took 19 times ours.

| program | training step | decoding |
|---|---|---|
| SLAM-LLM as shipped | 7.9 | 9.3 |
| the model class of ultravox | 1.85 | 2.1 |
| a plain loop over transformers | 8.0 | 6.7 |
| a plain loop with trimmed audio, stored frames and logits at answers | 0.90 to 0.96 | NOT RUN |
"""


def compare(slow: Callable[[], object], fast: Callable[[], object]) -> tuple[float, float, float]:
    """Median ratio of the times, slow over fast, with its lowest and highest over rounds."""
    ratios = []
    for _ in range(ROUNDS):
        taken = []
        for side in (slow, fast):
            began = time.perf_counter()
            side()
            taken.append(time.perf_counter() - began)
        ratios.append(taken[0] / taken[1])
    return statistics.median(ratios), min(ratios), max(ratios)


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
    optimizer = torch.optim.AdamW(model.adapter.parameters(), lr=0.0)  # so that all rounds cost the same

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
        "loss and gradients of 32 x 160 tokens of text in bf16 with fused attention / without": (
            reads_with("sdpa"),
            reads_with(ATTENTION),
        ),
    }
    environment = runs.environment()
    lines = [
        "## Ratios",
        "",
        f"Time of the first over that of the second, both in one process on one thread, {ROUNDS} rounds in "
        f"alternation, by `python benchmarks/speed.py`. {environment['processor']}.",
        "",
        "| claim | times faster | range |",
        "|---|---|---|",
    ]
    for claim, sides in claims.items():
        median, low, high = compare(*sides)
        lines.append(f"| {claim} | {median:.1f} | {low:.1f} to {high:.1f} |")
        print(lines[-1], flush=True)
    runs.write_text(Path(__file__).with_name("speed.md"), "\n".join(lines) + "\n" + PEERS)


if __name__ == "__main__":
    main()
