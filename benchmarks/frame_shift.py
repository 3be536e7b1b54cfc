"""Effect of `frame_shift` on the warm start of profile small: validation WER with it and without it.

    python benchmarks/frame_shift.py     # about six minutes of one core, once the profile is prepared

Writes frame_shift.md. The trained weights are not kept.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from tabulate import tabulate

from speechllm_bench.data import corpora
from speechllm_bench.planning import studies
from speechllm_bench.running import preparation
from speechllm_bench.storage import runs
from speechllm_bench.training import stages

LIMITS = (None, 8)
PAGE = """# Frame shift

An adapter stacks eight encoder frames. Without `frame_shift` a turn is cut at the same places each time it is
seen, and {n:,} turns are learned by heart. With it, zero to seven zero frames are put before a
turn in training, a number drawn anew each time. Validation turns have none.

The table shows the CTC warm start of profile small: its MLP, {examples:,} examples, seed 0, {turns}
validation turns. Losses are in nats per target token. Written by `python benchmarks/frame_shift.py` on
{machine}.

{table}
"""


def main() -> None:
    torch.set_num_threads(1)
    config = studies.run("lora", "mlp_lora", 0, "small").config
    corpus = preparation.corpus_of(config)
    frames = preparation.ensure_frames(config, corpus)
    types = corpora.slot_types(config.corpus.name)
    data = stages.Data(corpus.utterances("train"), corpus.utterances("validation"), types, frames)
    warm = config.stages[0]
    rows = []
    for limit in LIMITS:
        stage = warm.model_copy(update={"frame_shift": limit, "decoded_turns": warm.validation_examples})
        tried = config.model_copy(update={"stages": [stage]})
        model, tokenizer = stages.build_model(tried, frames.dim)
        with tempfile.TemporaryDirectory() as checkpoint:
            fitted, _ = stages.train_stage(tried, 0, model, tokenizer, data, Path(checkpoint) / "stage")
        found = {(p.examples, p.split, p.metric): p.value for p in fitted.curve}
        for seen in sorted({p.examples for p in fitted.curve}):
            keys = (("train", "loss"), ("validation", "loss"), ("validation", "wer"))
            values = [f"{found[seen, *key]:.3f}" for key in keys]
            rows.append(["none" if limit is None else f"below {limit}", f"{seen:,}", *values])
    columns = ["zero frames", "examples", "training loss", "validation loss", "validation WER"]
    page = PAGE.format(
        n=len(data.train),
        examples=warm.examples,
        turns=warm.validation_examples,
        machine=runs.environment()["processor"],
        table=tabulate(rows, columns, tablefmt="pipe", disable_numparse=True),
    )
    Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
