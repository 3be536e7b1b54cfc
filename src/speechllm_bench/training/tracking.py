"""Tracking of a running training: its curve on disk, and in the user's trackers that `--track` names.

Trackers are accelerate's. They are off by default, and they do not change any number.
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
EVERY = 10  # a tracker gets the values of every tenth step


def curve_file(profile: str, digest: str) -> Path:
    return paths.cache() / "curves" / f"{profile}.{digest}.csv"


class Follower:
    """Receives each training step and curve point, and passes them to the curve file and the trackers."""

    def __init__(self, stage: str, curve: Path, trackers=None):
        self.stage, self.curve, self.trackers = stage, curve, trackers

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Log one step. values: loss terms, gradient norm and learning rate, by name."""
        if self.trackers and step % EVERY == 0:
            self.trackers.log({f"{self.stage}/train/{name}": v for name, v in values.items()}, step=step)

    def point(self, curve: Sequence[Point]) -> None:
        """Write the curve and log its last points. curve: all points so far."""
        learning_curve.write_curve([(self.stage, list(curve))], self.curve)
        last = curve[-1].step if curve else 0
        if self.trackers:
            found = {f"{self.stage}/{p.split}/{p.metric}": p.value for p in curve if p.step == last}
            self.trackers.log(found, step=last)


@contextlib.contextmanager
def followed(config: RunConfig, index: int, profile: str, digest: str) -> Iterator[Follower]:
    """Yield the follower of stage `index`. Its curve file is deleted when the training ends without an error.

    Raises UserError where a tracker does not start.
    """
    stage, file = config.stages[index], curve_file(profile, digest)
    trackers = _started(stage.name, config, profile, digest)
    try:
        yield Follower(stage.name, file, trackers)
        file.unlink(missing_ok=True)
    finally:
        if trackers:
            trackers.end_training()


def _started(stage: str, config: RunConfig, profile: str, digest: str):
    """Return accelerate's trackers of the kinds that `--track` names; None where it names none.

    Raises UserError where a tracker does not start.
    """
    if not (names := os.environ.get(paths.TRACK)):
        return None
    from accelerate import Accelerator

    folder, run = paths.cache() / "track" / profile / f"{stage}-{digest}", f"{stage} {digest}"
    folder.mkdir(parents=True, exist_ok=True)
    database = f"sqlite:///{folder.parent / 'mlflow.db'}"  # else it writes into the current folder
    os.environ.setdefault("MLFLOW_TRACKING_URI", database)
    trackers = Accelerator(log_with=names.split(","), project_dir=folder)
    told = {"profile": profile, "stage": stage, "digest": digest, "seed": config.seed, "llm": config.llm}
    named = {"wandb": {"name": run, "dir": str(folder)}, "mlflow": {"run_name": run}}
    try:
        trackers.init_trackers(PROJECT, told, named)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # a tracker may raise anything, for example without an account or a server
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"--track {names} does not start ({why}); set it up, or leave it out") from None
    return trackers
