"""Estimates of a plan's time and memory, before it starts."""

from __future__ import annotations

from pathlib import Path

from speechllm_bench.planning import identity
from speechllm_bench.planning.studies import Plan
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.tasks import TASKS

RUN_SECONDS = 20  # of a run without its training, until one is recorded
CTC_EXAMPLE = 0.1  # time of a warm-start example relative to one that runs through the LLM, roughly
CONTEXT_GIB = 2.0  # GPU memory of a process before it loads a model
# GiB of activations per example of a batch and per billion parameters, without and with a trace in answers.
# They are at or above the values of benchmarks/paper_scale.md for 1, 4 and 8 B.
GIB_AN_EXAMPLE, WITH_TRACE = 0.25, 0.52
BYTES = {"fp32": 4, "mixed": 4, "bf16": 2, "nf4": 0.8}  # per parameter; nf4 keeps embeddings and head in bf16


def gpu_gib(config: RunConfig) -> float:
    """Estimate the GPU memory of a run in GiB. Only the headers of the weights are read."""
    n = identity.n_stored(config.audio_llm or config.llm)
    weights = n * BYTES[config.precision] / 2**30
    traced = any(TASKS[task].traced for task in config.tasks(len(config.stages)))
    batch = max((stage.batch_size for stage in config.stages), default=0)
    return CONTEXT_GIB + 1.2 * weights + (WITH_TRACE if traced else GIB_AN_EXAMPLE) * batch * n / 1e9


def describe(plan: Plan, jobs: int) -> str:
    """Return sentences on the plan: what is done, what will run and for how long, and what is left out."""
    return "\n".join((_told(plan, jobs), *plan.left_out))


def _told(plan: Plan, jobs: int) -> str:
    missing, done = plan.missing, len(plan.distinct) - len(plan.missing)
    name = plan.profile.profile
    if not missing:
        return f"Profile {name}: all {done} runs are there, nothing to do."
    about = f"about {clock(expected_seconds(plan, jobs))}"
    return (
        f"Profile {name}: runs to do: {len(missing)} ({done} are there); training stages after sharing: "
        f"{len(plan.untrained)}; at a time: {jobs}. Expected time: {about}."
    )


def expected_seconds(plan: Plan, jobs: int) -> float:
    """Estimate the seconds of the plan with `jobs` runs at a time: training, start-up and decoding."""
    return sum(run_seconds(plan).values()) / min(jobs, len(plan.missing) or 1)


def run_seconds(plan: Plan) -> dict[str, float]:
    """Estimate the seconds of each missing run, by digest. A shared stage counts for the first run only.

    The speed is that of the profile's recorded stages and runs. Without records it is the profile's own
    estimate (`examples_per_second`).
    """
    folder = paths.results(plan.profile.profile)
    # Hidden folders are left out: another runner may be writing one.
    stages = _records(folder, "stages/[!.]*/stage.json")
    seconds = sum(stage["seconds"] + stage["validation_seconds"] for stage in stages)
    seen = sum(work(stage["examples"], stage.get("stage", {}).get("objective")) for stage in stages)
    records = _records(folder, "runs/[!.]*/run.json")
    a_run = [record["seconds"] for record in records]
    rest = [run["total"] - run["train"] - run["validate"] for run in a_run] or [RUN_SECONDS]
    pace = seconds / seen if seen else 1 / plan.profile.examples_per_second
    untrained, expected = plan.untrained, {}
    for run in plan.missing:
        own = zip(run.stages, run.config.stages, strict=True)
        examples = sum(work(s.examples, s.objective) for digest, s in own if digest in untrained)
        untrained -= set(run.stages)
        expected[run.digest] = pace * examples + sum(rest) / len(rest)
    return expected


def run_memory(profile: str) -> int | None:
    """Return the peak memory in bytes of a profile's largest recorded run; None without records."""
    records = _records(paths.results(profile), "runs/[!.]*/run.json")
    return max((record.get("peak_memory_mib", 0) for record in records), default=0) * 2**20 or None


def work(examples: int, objective: str | None) -> float:
    """Convert a stage's examples to the number of examples through the LLM that take as long."""
    return examples * (CTC_EXAMPLE if objective == "ctc" else 1)


def _records(folder: Path, pattern: str) -> list[dict]:
    """Return stored records after a check of their own hashes. Their files are not used and not checked."""
    return [sealed.read(file, runs.DELETE_FOLDER, files=False) for file in folder.glob(pattern)]


def clock(seconds: float) -> str:
    """Format seconds as 45 s, 3 min 20 s or 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
