"""A training while it goes on: its curve on disk, and on the user's trackers where `--track` names some.

Trackers are accelerate's, off unless they are asked for. They see numbers and change none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import paths
from speechllm_bench.training import learning_curve
from speechllm_bench.training.loop import Point

PROJECT = "speechllm-bench"
EVERY = 10  # steps between two numbers of a tracker


def curve_file(digest: str) -> Path:
    """Where the curve of a stage stands that is being trained."""
    return paths.cache() / "curves" / f"{digest}.csv"


class Follower:
    """Told of each step and of each point of the curve."""

    def __init__(self, stage: str, curve: Path, trackers=None):
        self.stage, self.curve, self.trackers = stage, curve, trackers

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """values: the terms of the loss and the gradient's norm, by name."""
        if self.trackers and step % EVERY == 0:
            self.trackers.log({f"{self.stage}/train/{name}": v for name, v in values.items()}, step=step)

    def point(self, curve: Sequence[Point]) -> None:
        """curve: all points so far."""
        learning_curve.write_curve([(self.stage, list(curve))], self.curve)
        last = curve[-1].step if curve else 0
        if self.trackers:
            found = {f"{self.stage}/{p.split}/{p.metric}": p.value for p in curve if p.step == last}
            self.trackers.log(found, step=last)


@contextlib.contextmanager
def followed(config: RunConfig, index: int, profile: str, digest: str) -> Iterator[Follower]:
    """The follower of stage `index`; what it keeps on disk goes once the stage has its own curve.

    UserError where a tracker does not start.
    """
    stage, file = config.stages[index], curve_file(digest)
    trackers = _started(stage.name, config, profile, digest)
    try:
        yield Follower(stage.name, file, trackers)
        file.unlink(missing_ok=True)
    finally:
        if trackers:
            trackers.end_training()


def _started(stage: str, config: RunConfig, profile: str, digest: str):
    """accelerate's trackers of the named kinds; None where none is named."""
    if not (names := os.environ.get(paths.TRACK)):
        return None
    from accelerate import Accelerator

    folder, run = paths.cache() / "track" / profile / f"{stage}-{digest}", f"{stage} {digest}"
    folder.mkdir(parents=True, exist_ok=True)
    trackers = Accelerator(log_with=names.split(","), project_dir=folder)
    told = {"profile": profile, "stage": stage, "digest": digest, "seed": config.seed, "llm": config.llm}
    named = {"wandb": {"name": run, "dir": str(folder)}, "mlflow": {"run_name": run}}
    try:
        trackers.init_trackers(PROJECT, told, named)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # whatever the user's tracker raises: no account, no server
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"--track {names} does not start ({why}); set it up, or leave it out") from None
    return trackers
