"""Kill tests: a small run is killed at random times and restarted until it ends.

Each trial has its own home. `prepare`, `run` and `report` run in turn, each in a forked process. The process
gets a signal after a random time and is started again. Faults are counted by command:

    lost                a corpus, frames, a stage or a run that was finished before a kill and is gone or
                        changed after it
    false ok            exit code 0, or a record, with some of its files missing
    traceback           a start after a kill that ends in a traceback
    silently different  a run whose predictions, scores or weights differ from a run that was never killed
    left                temporary files of killed processes that the last start has not removed
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
DIFFERENT, LOST, FALSE_OK, TRACEBACK, LEFT = (
    "silently different", "lost", "false ok", "traceback", "left",
)  # fmt: skip
TRIES = 8  # kills of one command before it may run to its end
COMMANDS = (
    ("prepare", "adapter_size", "mlp", "--jobs", "1"),
    ("run", "adapter_size", "mlp", "--threads", "1"),
    ("report", "adapter_size"),
)
PROFILE = {
    "profile": "smoke",
    "note": "a toy",
    "corpus": {"name": "call_centre", "sizes": {"train": 16, "validation": 4, "A-test": 8}},
    "adapters": {
        name: {"kind": name, "width": 16} | ({"layers": 1} if name == "mlp" else {})
        for name in ("mlp", "cnn", "cnn_xl")
    },
    "lora": {"rank": 4, "alpha": 16, "dropout": 0.0},
    "lora_qkv": {"rank": 2, "alpha": 2, "dropout": 0.0, "targets": "qkv"},
    "budgets": {"alignment": 16, "slots": 16, "transcription": 0, "understanding": 0},
    "training": {
        "batch_size": 4, "lr": 0.001, "lora_lr": 0.002, "warmup_ratio": 0.1, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "evaluations": 2, "validation_examples": 4, "decoded_turns": 4,
    },
    "decoding": {"batch_size": 4, "max_new_tokens": 8, "trace_tokens": 8},
    "precision": "fp32",
    "seeds": [0],
    "headline": ["adapter_size"],
    "variants": "telling",
    "examples_per_second": 50.0,
    "time_limit_minutes": 5,
}  # fmt: skip
STUDY = """
study: adapter_size
title: Toy
paper: none
question: Is anything lost?
baseline: mlp
extremes: [mlp, no_audio]
base:
  adapter: mlp
  lora: false
  stages: [{name: slots, tasks: {slots: 1.0}, train: [adapter], budget: [slots]}]
variants: {mlp: {}, no_audio: {evaluation: {audio: other}}}
reported: []
claims: []
"""


@dataclass
class Found:
    """Outcome of one trial. kills: (command, signal) -> number. faults: (column, command, description)."""

    kills: Counter = field(default_factory=Counter)
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # command -> duration of its last start


def write_experiments(folder: Path, encoder: str, llm: str) -> None:
    """Write the toy study and its profile in the layout of `experiments/`."""
    profile = PROFILE | {"encoder": {"path": encoder, "padding": "trimmed"}, "llm": llm}
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "smoke.yaml").write_text(yaml.safe_dump(profile), "utf-8")
    (folder / "adapter_size.yaml").write_text(STUDY, "utf-8")


def start(command: tuple[str, ...], experiments: Path, home: Path, log: Path) -> int:
    """Fork a process that runs one command. Return its process id. A fork avoids importing torch again."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ["SPEECHLLM_BENCH_HOME"] = str(home)
        from speechllm_bench import cli
        from speechllm_bench.storage import paths
        from speechllm_bench.training import loop

        paths.EXPERIMENTS, loop.CHECKPOINT_SECONDS = experiments, -1  # a checkpoint at each step
        cli._PROCESS = os.getpid()
        code = cli.main(list(command))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def trial(experiments: Path, home: Path, rng: random.Random, seconds: dict[str, float], most: int) -> Found:
    """Run one home from nothing to its tables, with at most `most` kills.

    seconds: command -> duration without kills.
    """
    found = Found()
    done: dict[str, str] = {}
    for command in COMMANDS:
        killed = 0

        def fault(column: str, told: str, name: str = command[0]) -> None:
            found.faults.append((column, name, f"{home.name}: {told}"))

        while True:
            began = time.monotonic()
            child = start(command, experiments, home, home / "log")
            kill = killed < TRIES and found.kills.total() < most
            number, code = _wait(child, rng, seconds.get(command[0], 0), kill)
            found.seconds[command[0]] = time.monotonic() - began
            text = (home / "log").read_text("utf-8", "replace")
            if "Traceback" in text and number != signal.SIGHUP:
                fault(TRACEBACK, f"{number}: {text[-2000:]}")
            now = finished(home)
            for name in (name for name, content in done.items() if now.get(name) != content):
                fault(LOST, name)
            for name in torn(home):
                fault(FALSE_OK, name)
            done = now
            if number is None:
                break
            killed += 1
            found.kills[command[0], number] += 1
        if code != 0:
            fault(FALSE_OK, f"ended with {code}: {text[-2000:]}")
            return found
    if not any(name.startswith("runs/") for name in done):
        fault(FALSE_OK, "no run, though all commands ended with 0")
    for file in (p for p in home.rglob(".*") if p.suffix in (".tmp", ".old")):
        fault(LEFT, str(file))
    return found


def _wait(child: int, rng: random.Random, seconds: float, kill: bool) -> tuple[int | None, int]:
    """Wait for the process, and kill it at a random time within `seconds`. Return signal and exit code.

    The signal is None if the process ended before.
    """
    deadline = time.monotonic() + rng.uniform(0, seconds)
    while kill and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return None, os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    number = rng.choice(SIGNALS) if kill else None
    if number:
        os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return number, code


def finished(home: Path) -> dict[str, str]:
    """Return finished corpora, frames, stages and runs, with the hash of their content."""
    kinds = {
        "corpora": (home / ".cache" / "corpora", "corpus.json"),
        "frames": (home / ".cache" / "frames", "index.json"),
        "stages": (home / "results" / "smoke" / "stages", "stage.json"),
        "runs": (home / "results" / "smoke" / "runs", "run.json"),
    }
    found = {}
    for kind, (folder, _) in kinds.items():
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            if not entry.name.startswith("."):
                files = sorted(p for p in entry.rglob("*") if p.is_file())
                content = hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()
                found[f"{kind}/{entry.name}"] = content
    return found


def torn(home: Path) -> list[str]:
    """Return faults: unreadable records, and incomplete folders of runs and stages."""
    wrong = []
    whole = {
        "runs": ("run.json", "curve.csv", "score.json", "predictions.jsonl.gz"),
        "stages": ("stage.json", "curve.csv", "weights.safetensors"),
    }
    for kind, names in whole.items():
        for folder in sorted((home / "results" / "smoke" / kind).glob("[!.]*")):
            wrong += [f"{kind}/{folder.name} has no {name}" for name in names if not _readable(folder / name)]
    for file in home.rglob("*.json"):
        if not any(part.endswith((".tmp", ".old")) for part in file.parts) and not _readable(file):
            wrong.append(f"{file.relative_to(home)} cannot be read")
    return wrong


def _readable(file: Path) -> bool:
    try:
        if file.suffix == ".json":
            json.loads(file.read_text("utf-8"))
        return file.stat().st_size > 0
    except (OSError, ValueError):
        return (
            not file.exists() and file.suffix == ".json" and ".cache" in file.parts
        )  # status files are created and removed at any time


def outcome(home: Path) -> dict[str, str]:
    """Return the results of a run without times: predictions, scores, curves, weights."""
    results = home / "results" / "smoke"
    found = {}
    for file in sorted(p for kind in ("runs", "stages") for p in (results / kind).rglob("*")):
        name = str(file.relative_to(results))
        if file.name == "curve.csv":
            rows = csv.reader(io.StringIO(file.read_text("utf-8")))
            found[name] = repr([row for row in rows if "seconds" not in row])
        elif file.suffix == ".gz":
            found[name] = gzip.decompress(file.read_bytes()).decode()
        elif file.name == "score.json" or file.suffix == ".safetensors":
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def kills(folder: Path, encoder: str, llm: str, most: int, seed: int = 0, done: int = 0) -> Iterator[Found]:
    """Yield trials in `folder` until `most` kills are made or a fault is found. done: kills made before."""
    import transformers  # noqa: F401, imported once here instead of in every fork

    from speechllm_bench import cli  # noqa: F401
    from speechllm_bench.data.corpora.call_centre import grammar
    from speechllm_bench.reports import figures, study, summary  # noqa: F401
    from speechllm_bench.running import jobs, preparation  # noqa: F401
    from speechllm_bench.training import stages  # noqa: F401

    grammar.embedded_grammar()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    write_experiments(folder / "experiments", encoder, llm)
    reference = folder / "reference"
    reference.mkdir()
    found = trial(folder / "experiments", reference, random.Random(seed), {}, most=0)
    if found.faults:
        yield found
        return
    seconds, wanted = found.seconds, outcome(reference)
    for number in itertools.count(done):
        if done >= most or found.faults:
            return
        home = folder / f"home-{number}"
        home.mkdir()
        found = trial(folder / "experiments", home, random.Random(f"{seed}/{number}"), seconds, most - done)
        if not found.faults and (came := outcome(home)) != wanted:
            names = [name for name in wanted.keys() | came.keys() if wanted.get(name) != came.get(name)]
            found.faults.append((DIFFERENT, "run", f"{home.name}: {', '.join(sorted(names))}"))
        done += found.kills.total()
        yield found
        shutil.rmtree(home)
