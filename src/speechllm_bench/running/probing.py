"""Probes: short trials of a plan's models on this machine, with a few training steps and answers.

Each probe is the last stage of a run of the plan, on the first turns of its corpus, with the usual training
code. The trained weights are discarded.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.planning import probes
from speechllm_bench.planning.probes import ANSWERS, GIB, STEPS, Probe
from speechllm_bench.planning.studies import Plan
from speechllm_bench.running import preparation
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import leftovers, paths, runs

TURNS = 160  # training turns: enough for typical lengths
WARM = 3  # warm-up steps, which are not timed
Tell = Callable[[str], None]


def probe_missing(plan: Plan, tell: Tell) -> None:
    """Do the probes of the plan that are not stored for this kind of device; store each when it is done.

    tell: called with one sentence per probe. Raises UserError where a model or corpus is missing or memory
    runs out.
    """
    profile, found = plan.profile.profile, probes.known(plan.profile.profile)
    for name, run in probes.wanted(plan).items():
        if name not in found or found[name].device != device_name():
            tell(f"probing {name}: {STEPS} steps and {ANSWERS} answers")
            found[name] = probe(run.config)
            probes.keep(profile, found)


def device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def shortened(config: RunConfig) -> RunConfig:
    """Return the run with only its last stage, `STEPS` steps on gold, and the first turns of its corpus."""
    sizes = {"train": TURNS, "validation": ANSWERS}
    stages = []
    for stage in config.stages[-1:]:
        plain: dict[str, Any] = {
            "examples": STEPS * stage.batch_size,
            "evaluations": 1,
            "decoded_turns": 0,
            "validation_examples": 1,
        }
        plain |= {"beside": None, "again": None, "train_share": None, "annotation": None, "text": "gold"}
        stages.append(stage.model_copy(update=plain))
    asked = config.evaluation.model_copy(update={"corpus": None, "text": "gold"})
    corpus = config.corpus.model_copy(update={"sizes": sizes})
    own = {"stages": stages, "corpus": corpus, "evaluation": asked}
    return config.model_copy(update=own)


class _Clock:
    """A follower of a training that records the time at the end of each step."""

    def __init__(self):
        self.ends: list[float] = []

    def step(self, step: int, values: object) -> None:
        self.ends.append(time.perf_counter())

    def point(self, curve: object) -> None:
        pass

    @property
    def median(self) -> float:
        spans = [after - before for before, after in zip(self.ends, self.ends[1:])]
        return statistics.median(spans[WARM:] or spans or [0.0])


def probe(config: RunConfig) -> Probe:
    """Measure a run's model. Where the run trains nothing, only its answers are measured."""
    import torch

    from speechllm_bench.data import corpora
    from speechllm_bench.training import stages

    config = shortened(config)
    corpus = cast(Corpus, preparation.corpus_of(config))
    frames = preparation.ensure_frames(config, corpus) if config.hears else None
    read = (corpus.utterances("train"), corpus.utterances("validation"))
    data = stages.Data(*read, corpora.slot_types(config.corpus.name), frames)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    model, tokenizer = stages.build_model(config, frames.dim if frames else None)
    clock, trained = _Clock(), 0
    if config.stages:
        with leftovers.scratch(paths.cache() / "probes", "checkpoint") as folder:
            checkpoint = folder / "checkpoint"
            stages.train_stage(config, 0, model, tokenizer, data, checkpoint, follow=cast(Any, clock))
        trained = sum(p.numel() for p in model.trained_parameters(config.stages[0].train).values())
    answer_seconds = _decode(config, model, tokenizer, corpus, data)
    cuda = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() / GIB if cuda else runs.peak_memory_mib() / 1024
    commit = (runs.environment().get("commit") or "no commit")[:9]
    return Probe(
        model=config.audio_llm or config.llm,
        traced=probes.traced(config),
        precision=config.precision,
        batch_size=config.stages[0].batch_size if config.stages else config.evaluation.batch_size,
        step_seconds=round(clock.median, 4),
        answer_seconds=round(answer_seconds, 4),
        peak_gib=round(peak, 2),
        trained=trained,
        device=device_name(),
        source=f"{datetime.now(UTC):%Y-%m-%d}, {commit}",
    )


def _decode(config: RunConfig, model, tokenizer, corpus, data) -> float:
    """Return the seconds of an answer of gold length. A model of a few steps does not end its answers."""
    from speechllm_bench.data import questions
    from speechllm_bench.models.decoding import decode

    asked = config.evaluation
    turns = questions.with_gold(corpus.utterances("validation"), [asked.task], ANSWERS)
    ood = asked.slot_types == "out_of_domain"
    examples = [
        questions.evaluation_example(u, data.slot_types, asked.task, ood, config.prompt, **asked.asking)
        for u in turns
    ]
    heard = data.heard(turns, "gold", examples)
    began = time.perf_counter()
    said = decode(
        model, tokenizer, examples, turns, **heard, batch_size=ANSWERS,
        max_new_tokens=asked.trace_tokens or asked.max_new_tokens, beams=asked.beams or 1,
    )  # fmt: skip
    spent = time.perf_counter() - began
    longest = max(prediction.n_tokens for prediction in said)  # it sets a batch's time
    gold = statistics.mean(len(tokenizer(example.target)["input_ids"]) + 1 for example in examples)
    return spent / len(said) * min(1.0, gold / longest)
