"""Estimates of a plan's cost on several kinds of GPU, from probes of its models on one GPU (`probing`).

Training time is scaled by the chips' dense bf16 rates and decoding time by their memory bandwidth, because
these are the bottlenecks. Both are the makers' figures; utilisation is assumed to be equal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from speechllm_bench.errors import UserError
from speechllm_bench.planning.estimate import work
from speechllm_bench.planning.studies import Plan, Run
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.settings.strict import Strict
from speechllm_bench.storage import paths, runs
from speechllm_bench.tasks import TASKS

GIB = 2**30
STEPS, ANSWERS = 20, 20  # training steps and answers of a probe
VALUE_BYTES = 4  # bytes per trained parameter, which is kept in fp32


@dataclass(frozen=True)
class Chip:
    bf16: float  # dense TFLOP/s
    gib: float  # memory
    bandwidth: float  # memory bandwidth, TB/s


CHIPS = {
    "a10g": Chip(70, 24, 0.6),
    "a100": Chip(312, 80, 2.0),
    "h100": Chip(989, 80, 3.35),
    "h200": Chip(989, 141, 4.8),
}


class Probe(Strict):
    """Measurements of one model over a few training steps and answers."""

    model: str
    traced: bool  # whether answers have traces
    precision: str
    batch_size: int
    step_seconds: float  # median
    answer_seconds: float  # per answer of gold length, in a full batch
    peak_gib: float  # peak of the device's memory
    trained: int  # trained parameters
    device: str  # the driver's name for it
    source: str  # date and commit

    @property
    def chip(self) -> str | None:
        """The kind of the device as a key of `CHIPS`; None for any other device."""
        name = self.device.lower().replace("-", " ").split()
        return next((chip for chip in CHIPS if chip in name), None)


def key(config: RunConfig) -> str:
    """Return the key of a run's probe. Runs with the same key take as long per example and answer."""
    batch = max((stage.batch_size for stage in config.stages), default=config.evaluation.batch_size)
    ending = ", traced" if traced(config) else ""
    return f"{config.audio_llm or config.llm}, {config.precision}, {batch}{ending}"


def traced(config: RunConfig) -> bool:
    return any(TASKS[task].traced for task in config.tasks(len(config.stages)))


def file(profile: str) -> Path:
    return paths.results(profile) / "probes.json"


def known(profile: str) -> dict[str, Probe]:
    """Return the stored probes by `key`. Raises UserError where their file is damaged."""
    if not (stored := file(profile)).is_file():
        return {}
    try:
        return TypeAdapter(dict[str, Probe]).validate_python(runs.read_json(stored))
    except ValidationError:
        raise UserError(f"{stored} is damaged; delete it and probe again") from None


def keep(profile: str, found: dict[str, Probe]) -> None:
    runs.write_json(file(profile), {name: probe.model_dump() for name, probe in sorted(found.items())})


def wanted(plan: Plan) -> dict[str, Run]:
    """Return one missing run per `key`, of the runs whose answers come from a model."""
    asked: dict[str, Run] = {}
    for run in plan.missing:
        if run.config.evaluation.answerer == "model":
            asked.setdefault(key(run.config), run)
    return asked


def table(plan: Plan) -> list[dict]:
    """Return one row per study: hours on each chip, GiB of GPU memory, and GiB of disk for trained weights.

    A shared stage counts for the first run that needs it. Without a probe of a known chip there are no rows.
    """
    probes = {name: probe for name, probe in known(plan.profile.profile).items() if probe.chip}
    untrained = plan.untrained
    rows: dict[str, dict] = {}
    for run in plan.missing:
        probe = probes.get(key(run.config))
        if run.config.evaluation.answerer != "model":
            continue
        empty = {"study": run.study, "hours": defaultdict(float), "gib": 0.0, "disk": 0.0, "unknown": 0}
        row = rows.setdefault(run.study, empty)
        row["unknown"] += probe is None
        if probe is None:
            continue
        own = zip(run.stages, run.config.stages, strict=True)
        stages = [stage for digest, stage in own if digest in untrained]
        untrained -= set(run.stages)
        row["gib"] = max(row["gib"], probe.peak_gib)
        row["disk"] += len(stages) * probe.trained * VALUE_BYTES / GIB
        for name in CHIPS:
            row["hours"][name] += _hours(probe, name, stages, answers(run, stages))
    return [row for row in rows.values() if row["hours"]]


def answers(run: Run, stages: Iterable) -> int:
    """Estimate the answers that a run decodes: its test set, and turns at each curve point of `stages`."""
    sizes = run.config.corpus.sizes
    tested = sizes.get(run.config.evaluation.split) or TEST_TURNS
    return tested + sum(stage.evaluations * stage.decoded_turns for stage in stages)


TEST_TURNS = 5000  # rough size of a published test set, for profiles that use all of it


def _hours(probe: Probe, chip: str, stages: list, n_answers: int) -> float:
    here, there = CHIPS[probe.chip or ""], CHIPS[chip]
    steps = sum(work(stage.examples, stage.objective) / stage.batch_size for stage in stages)
    training = steps * probe.step_seconds * here.bf16 / there.bf16
    return (training + n_answers * probe.answer_seconds * here.bandwidth / there.bandwidth) / 3600


def told(plan: Plan) -> str:
    """Format the rows of `table` as lines with their sources; one sentence where no known GPU was probed."""
    rows, probes = table(plan), known(plan.profile.profile)
    if not rows:
        measured = {probe.device for probe in probes.values()}
        where = f" (probes are of {', '.join(sorted(measured))})" if measured else ""
        return f"No probe of a known GPU ({', '.join(CHIPS)}){where}. Hours on GPUs are NOT RUN."
    lines = [f"{'study':18}" + "".join(f"{chip:>10}" for chip in CHIPS) + "   GPU memory   disk"]
    for row in rows:
        cells = (_cell(row, chip) for chip in CHIPS)
        rest = f"; {row['unknown']} runs are not probed" if row["unknown"] else ""
        line = f"{row['study']:18}" + "".join(f"{cell:>10}" for cell in cells)
        lines.append(f"{line}   {row['gib']:6.0f} GiB   {row['disk']:.1f} GiB{rest}")
    sources = sorted({f"{probe.device}, {probe.source}" for probe in probes.values()})
    lines.append(
        f"GPU hours by probes of {STEPS} steps and {ANSWERS} answers a model ({'; '.join(sources)}), scaled "
        "by the makers' bf16 rates and memory bandwidths; *: activations have to be computed again, or "
        "batches halved."
    )
    return "\n".join(lines)


def _cell(row: dict, chip: str) -> str:
    return f"{row['hours'][chip]:.1f} h{'*' if row['gib'] > CHIPS[chip].gib else ' '}"
