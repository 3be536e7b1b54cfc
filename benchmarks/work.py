"""Work of a plain `make` at a profile, counted before anything is run. Writes benchmarks/work.md.

    python benchmarks/work.py [PROFILE]

Studies are counted in the order of `make`. What an earlier study has made is not counted again. Seconds are
the counts times the seconds of one unit (`SECONDS`); nothing is measured.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from speechllm_bench.planning import studies
from speechllm_bench.settings.config import RunConfig, StageConfig
from speechllm_bench.storage import runs
from speechllm_bench.tasks import TASKS

PAGE = Path(__file__).with_name("work.md")
START_UPS = "start-ups"
CORES = 2
SECONDS = {
    "utterances": 0.04,
    "examples": 0.0107,
    "examples with LoRA": 0.0168,
    "examples with traces": 0.031,
    "losses": 0.007,
    "answers": 0.0175,
    "answers with traces": 0.095,
    START_UPS: 5.0,
}
"""Seconds of one core for one unit, with the backbones of smoke. They are from the records of one `make all`
at smoke, in runs of one thread on two cores of an AMD EPYC (benchmarks/README.md).
"""
FORKED_SECONDS = 0.7
"""Seconds of a run that the fork server starts, instead of a start-up: it only loads the models."""
KINDS = tuple(SECONDS)


def of_stage(stage: StageConfig) -> Counter[str]:
    """Return the work of training one stage, validation included."""
    traced = any(TASKS[task].traced for task in stage.taught)
    kind = "examples with traces" if traced else "examples with LoRA" if "lora" in stage.train else "examples"
    asked = TASKS[stage.decoded_task].traced if stage.decoded_task else False
    turns = Counter({"answers with traces" if asked else "answers": stage.evaluations * stage.decoded_turns})
    return Counter({kind: stage.examples, "losses": stage.evaluations * stage.validation_examples}) + turns


def of_answers(config: RunConfig) -> Counter[str]:
    """Return the work of starting a run and decoding its test set."""
    found = Counter({START_UPS: 1})
    if config.evaluation.answerer == "model":
        traced = TASKS[config.evaluation.task].traced
        found["answers with traces" if traced else "answers"] = config.corpus.sizes[config.evaluation.split]
    return found


def counted(profile: str) -> dict[str, Counter[str]]:
    """Return study -> work that no earlier study has done, in the order of `make`.

    Preparation comes first.
    """
    scale = studies.profile_named(profile)
    found = {"preparation": Counter({"utterances": sum(scale.corpus.sizes.values()), START_UPS: 1})}
    seen: set[str] = set()
    for study in scale.headline:
        own = found[study] = Counter()
        for run in studies.plan([study], profile).distinct:
            for digest, stage in zip(run.stages, run.config.stages, strict=True):
                own += of_stage(stage) if digest not in seen else Counter()
                seen.add(digest)
            own += of_answers(run.config) if run.digest not in seen else Counter()
            seen.add(run.digest)
    return found


def seconds(found: Counter[str], forked: bool) -> float:
    """Return the seconds on one core."""
    cost = SECONDS | {START_UPS: FORKED_SECONDS} if forked else SECONDS
    return sum(cost[kind] * n for kind, n in found.items())


def page(profile: str) -> str:
    found = counted(profile)
    found["all"] = sum(found.values(), Counter())
    heads = ["what", *KINDS, "core-seconds", "with a fork server"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for what, own in found.items():
        numbers = [own[kind] for kind in KINDS] + [seconds(own, forked) for forked in (False, True)]
        lines.append(f"| {what} | " + " | ".join(f"{n:,.0f}" for n in numbers) + " |")
    minutes = (seconds(found["all"], forked=True) + SECONDS[START_UPS]) / CORES / 60
    costs = "; ".join(f"{kind} {n:g}" for kind, n in SECONDS.items())
    return f"""# The work of `make`

Profile `{profile}`, counted by `python benchmarks/work.py` before anything is run. A row does not
count work of earlier rows again. Losses are validation losses. Answers are decoded in validation and on the
test set.
Core-seconds are counts times the seconds of one of each, from records of profile `smoke`: {costs}. With the
fork server a start-up takes {FORKED_SECONDS} s, since its libraries are loaded once.

{chr(10).join(lines)}

On {CORES} cores that never wait for each other this takes {minutes:.1f} minutes, the fork server's own start
included. Tables, figures and notebooks are not included.
"""


if __name__ == "__main__":
    runs.write_text(PAGE, page(sys.argv[1] if len(sys.argv) > 1 else "smoke"))
    print(f"wrote benchmarks/{PAGE.name}")
