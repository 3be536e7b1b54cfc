"""Growth of time with the numbers of examples, answers and runs. Writes benchmarks/growth.md and growth.png.

    python benchmarks/growth.py

Needs the zoo and the records of `mini`; takes about five minutes on one core. Times are processor times, so
other work on the machine has little effect. Training and decoding use the backbones of smoke. Tables and
figures are made from the records of `mini` with an empty cache.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from tabulate import tabulate

from speechllm_bench.data import corpora, questions
from speechllm_bench.models.decoding import decode
from speechllm_bench.planning import studies
from speechllm_bench.running import preparation
from speechllm_bench.storage import paths, runs
from speechllm_bench.training.stages import Data, build_model, train_stage

TIMES = (1, 2, 4)
EXAMPLES, ANSWERS, STUDIES = 400, 80, 4  # at 1 times
PAGE = Path(__file__).with_name("growth.md")
TEXT = """# How time grows

Processor seconds for 1, 2 and 4 times as much work, by `python benchmarks/growth.py` on {machine}, one core.
Examples train an adapter, with the backbones of smoke. Answers are decoded in batches of 32. Tables and
figures are those of whole studies of `mini`, with an empty cache. Their times include the import of
libraries.

{table}

![Seconds over the amount of work](growth.png)
"""


def seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of `work`, including the child processes that it waits for."""
    began = time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    work()
    return time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began


def learned_and_answered() -> dict[str, list[tuple[int, float]]]:
    """Return (number, seconds) pairs for training examples and for decoded answers."""
    config = studies.run("adapter_size", "mlp", 0, "smoke").config
    corpus = preparation.ensure_corpus(config.corpus, 2)
    frames = preparation.ensure_frames(config, corpus)
    types = corpora.slot_types(config.corpus.name)
    turns = corpus.utterances("validation")
    data = Data(corpus.utterances("train"), turns, types, frames)
    found: dict[str, list[tuple[int, float]]] = {"examples": [], "answers": []}
    for times in TIMES:
        changed = {
            "examples": times * EXAMPLES,
            "evaluations": 1,
            "validation_examples": 8,
            "decoded_turns": 0,
        }
        stage = config.stages[-1].model_copy(update=changed)
        own = config.model_copy(update={"stages": [stage]})
        model, tokenizer = build_model(own, frames.dim)
        with tempfile.TemporaryDirectory() as checkpoint:
            folder = Path(checkpoint) / "none"
            took = seconds(partial(train_stage, own, 0, model, tokenizer, data, folder))
        found["examples"].append((times * EXAMPLES, took))
    for times in TIMES:
        some = (turns * times)[: times * ANSWERS]
        asked = [questions.evaluation_example(turn, types, "slots") for turn in some]
        heard = [frames[turn.id] for turn in some]
        settings = {"frames": heard, "batch_size": 32, "max_new_tokens": 24}
        took = seconds(partial(decode, model, tokenizer, asked, some, **settings))
        found["answers"].append((times * ANSWERS, took))
    return found


def reported() -> list[tuple[int, float]]:
    """Return (number of runs, seconds) pairs for reports of 1, 2 and 4 times `STUDIES` studies."""
    names = studies.known_studies()[: TIMES[-1] * STUDIES]
    found = []
    with tempfile.TemporaryDirectory() as home:
        shutil.copytree(paths.PROJECT / "results/mini", Path(home) / "results/mini")
        os.environ[paths.HOME] = home  # also for the child processes that report
        for times in TIMES:
            some = names[: times * STUDIES]
            n_runs = sum(row["record"] is not None for name in some for row in studies.records(name, "mini"))
            shutil.rmtree(Path(home) / ".cache", ignore_errors=True)
            command = [sys.executable, "-m", "speechllm_bench.cli", "report", *some, "--profile", "mini"]
            report = partial(subprocess.run, command, check=True, capture_output=True)
            found.append((n_runs, seconds(report)))
    return found


def main() -> None:
    torch.set_num_threads(1)
    found = learned_and_answered() | {"runs in tables and figures": reported()}
    figure, axes = plt.subplots(1, len(found), figsize=(9, 2.6), layout="constrained")
    rows = []
    for ax, (what, points) in zip(axes, found.items(), strict=True):
        numbers, took = zip(*points, strict=True)
        ax.plot(numbers, took, marker="o")
        ax.plot((0, numbers[-1]), (0, took[0] * numbers[-1] / numbers[0]), color="grey", linestyle=":")
        ax.set(xlabel=what, ylabel="processor seconds", xlim=(0, None), ylim=(0, None))
        rows.append([what, *(f"{n:,}: {s:.1f} s" for n, s in points), f"{took[-1] / took[0]:.1f}"])
    figure.suptitle("Dotted: in proportion to the first point", fontsize="small")
    figure.savefig(PAGE.with_suffix(".png"), dpi=120)
    columns = ["what", *(f"{times} times" if times > 1 else "once" for times in TIMES), "last over first"]
    table = tabulate(rows, columns, tablefmt="github", disable_numparse=True)
    runs.write_text(PAGE, TEXT.format(machine=runs.environment()["processor"], table=table))
    print(table)


if __name__ == "__main__":
    main()
